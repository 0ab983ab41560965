"""Losses for classes: see experiment.py."""
