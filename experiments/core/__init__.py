"""The machinery all experiments share; it names no topic."""
