"""Depth and over-fitting: see experiment.py."""
