"""The perceptron: see experiment.py."""
