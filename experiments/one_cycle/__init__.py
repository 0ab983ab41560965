"""The one-cycle schedule: see experiment.py."""
