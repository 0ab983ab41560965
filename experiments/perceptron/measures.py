"""Nothing is read off runs here: the perceptron's algorithm runs inside the checks, whose numbers the claims use."""
