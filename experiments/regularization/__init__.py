"""Penalties and dropout: see experiment.py."""
