"""This experiment has no measures: the claims use the numbers of its checks, which run the perceptron's algorithm."""
