"""The batch size: see experiment.py."""
