"""Least squares, and one linear layer trained by gradient: see experiment.py."""
