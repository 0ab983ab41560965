"""Gradient clipping: see experiment.py."""
