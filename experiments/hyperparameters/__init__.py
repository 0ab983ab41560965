"""Hyper-parameters: see experiment.py."""
