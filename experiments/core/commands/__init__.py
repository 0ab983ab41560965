"""The commands of `python -m experiments`: a parser, and one file a command."""
