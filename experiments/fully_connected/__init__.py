"""Where a fully connected network is a good choice, and where not: see experiment.py."""
