"""The fixtures of the tests, for the faults."""

from tests.conftest import base_yaml, command, here, trained
from tests.core.conftest import tiny

__all__ = ["base_yaml", "command", "here", "tiny", "trained"]
