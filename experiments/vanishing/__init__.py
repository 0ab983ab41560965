"""Vanishing gradients: see experiment.py."""
