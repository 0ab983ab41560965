"""Non-linearity: see experiment.py."""
