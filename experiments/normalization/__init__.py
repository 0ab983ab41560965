"""Normalisation: see experiment.py."""
