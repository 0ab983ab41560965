"""What a run leaves on disk, and how it is read back: run directories, checkpoints, YAML, JSON, errors."""
