"""What a fully connected network is good for, and what not: see experiment.py."""
