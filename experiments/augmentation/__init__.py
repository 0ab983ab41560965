"""Data augmentation: see experiment.py."""
