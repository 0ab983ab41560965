"""Tasks of an experiment on worker processes."""
