"""Variants of gradient descent: see experiment.py."""
