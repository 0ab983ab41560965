"""Several labels a sample: see experiment.py."""
