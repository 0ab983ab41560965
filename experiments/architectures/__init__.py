"""Every architecture of the lecture, each with a YAML that trains it."""
