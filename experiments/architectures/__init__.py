"""Every architecture of the lecture, each with a config that trains it."""
