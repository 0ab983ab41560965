"""This experiment has no measures of its own: runs record them, and the contrasts are those of `core`."""
