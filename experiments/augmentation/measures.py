"""Nothing beyond what the runs record: the contrasts are those of `core`."""
