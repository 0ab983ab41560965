"""Gradient descent: see experiment.py."""
