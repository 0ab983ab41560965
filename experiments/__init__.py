"""Each claim of the lecture as an experiment; `python -m experiments --help` is the way in."""
