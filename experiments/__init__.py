"""The claims of the lecture as experiments; start with `python -m experiments --help`."""
