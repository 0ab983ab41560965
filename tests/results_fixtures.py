"""What figures, report and dashboards are tested with; `pytest_plugins` of a test module names this file."""

from __future__ import annotations

import pytest
from synthetic_results import build

from experiments.core.execution.workers import Pool
from experiments.core.report import figures
from experiments.core.report.drawing import Drawing
from experiments.core.verdicts.results import Results


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Four seeds at quick scale: one run diverged, one is missing, one failed. Nobody changes them."""
    return build(tmp_path_factory.mktemp("synthetic"), seeds=4)


@pytest.fixture(scope="session")
def drawn(results: Results) -> dict[str, Drawing]:
    """All figures of these results, saved."""
    return figures.draw(results, Pool(jobs=1).map)
