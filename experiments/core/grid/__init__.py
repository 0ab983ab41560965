"""Experiments, their conditions and plans: pure data, read without torch."""
