"""The fixtures of the tests, for the faults; `make test-faults` runs these and the slow cases of the tests."""

from pathlib import Path

import pytest

from tests.conftest import base_yaml, command, here, trained
from tests.core.conftest import no_workers, tiny

__all__ = ["base_yaml", "command", "here", "no_workers", "tiny", "trained"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder as slow."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)
