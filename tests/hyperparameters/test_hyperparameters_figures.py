"""The figures of the experiment `hyperparameters`: what they draw against results.csv, read back from its file."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from read_back import artist, interval, line, student
from smoke_results import Shared

from experiments.core.report.drawing import Drawing
from experiments.core.verdicts.results import Results

Drawn = Mapping[str, Drawing]
RATES, DEPTHS, NORMALIZATIONS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0), (1, 3, 6), ("none", "batch", "layer")
SHORT = {"none": "none", "batch": "BN", "layer": "LN"}


@pytest.fixture(scope="module")
def results(shared: Shared) -> Results:
    return shared.of("hyperparameters")


@pytest.fixture(scope="module")
def drawn(shared: Shared) -> Mapping[str, Drawing]:
    return shared.drawings("hyperparameters")


@pytest.fixture(scope="module")
def table(results: Results) -> pd.DataFrame:
    """One row a run, the axes filled in where the condition is the base's, and the accuracy that counts."""
    frame = pd.read_csv(results.plan.directory / "results.csv").fillna({"normalization": "none", "depth": 3, "lr": 0.1})
    frame["accuracy"] = frame["test/accuracy"].where(frame["status"] == "ok", 0.1)
    frame["validation"] = frame["val/accuracy"].where(frame["status"] == "ok", 0.0).fillna(0.0)
    return frame


def cells(table: pd.DataFrame, seed: int) -> dict[tuple[str, int, float], float]:
    rows = table[table["seed"] == seed]
    keys = zip(rows["normalization"], rows["depth"].astype(int), rows["lr"], strict=True)
    return dict(zip(keys, rows["accuracy"], strict=True))


def tuned_rates(table: pd.DataFrame, seed: int) -> dict[tuple[str, int], float]:
    rows = table[table["seed"] == seed].sort_values("lr", kind="stable")
    return {
        (str(n), int(d)): float(group.loc[group["validation"].idxmax(), "lr"])
        for (n, d), group in rows.groupby(["normalization", "depth"])
    }


def test_every_cell_ran(table: pd.DataFrame) -> None:
    assert len(table) == 2 * 54
    assert table.groupby("seed").size().tolist() == [54, 54]


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_the_heat_map_shows_mean_accuracies(drawn: Drawn, table: pd.DataFrame, normalization: str) -> None:
    figure = drawn["workable_cells"].figure
    rows = table[table["normalization"] == normalization]
    expected = [
        [rows[(rows["depth"] == depth) & (rows["lr"] == rate)]["accuracy"].mean() for rate in RATES] for depth in DEPTHS
    ]
    colours = np.asarray(artist(figure, f"accuracy/{normalization}").get_array())
    assert colours.reshape(3, 6) == pytest.approx(np.array(expected), rel=1e-12)
    for depth, rate in itertools.product(DEPTHS, RATES):
        text = artist(figure, f"cell/{normalization}/{depth}/{rate:g}")
        value = expected[DEPTHS.index(depth)][RATES.index(rate)]
        # Halves are rounded up or down.
        assert int(text.get_text()) == pytest.approx(100 * value, abs=0.5 + 1e-9)
        assert text.get_position() == (RATES.index(rate) + 0.5, DEPTHS.index(depth) + 0.5)


def test_frames_and_counts_of_workable_cells(drawn: Drawn, table: pd.DataFrame) -> None:
    figure = drawn["workable_cells"].figure
    counts: dict[str, list[int]] = {n: [] for n in NORMALIZATIONS}
    often: dict[tuple[str, int, float], int] = {}
    for seed in (1000, 1001):
        accuracy = cells(table, seed)
        works = [cell for cell, value in accuracy.items() if value >= max(accuracy.values()) - 0.05 - 1e-6]
        for normalization in NORMALIZATIONS:
            counts[normalization].append(sum(cell[0] == normalization for cell in works))
        for cell in works:
            often[cell] = often.get(cell, 0) + 1
    framed = {a.get_gid() for a in figure.findobj(lambda a: (a.get_gid() or "").startswith("workable/"))}
    assert framed == {f"workable/{n}/{d}/{r:g}" for (n, d, r), count in often.items() if count == 2}
    for axes, normalization in zip(figure.axes, NORMALIZATIONS, strict=False):
        mean = np.mean(counts[normalization])
        assert axes.get_title(loc="left").split("\n")[1].startswith(f"{mean:.1f}")
        assert axes.get_title(loc="left").endswith(" of 18")


def test_accuracies_shared_and_tuned(drawn: Drawn, table: pd.DataFrame) -> None:
    figure = drawn["swapped_ranks"].figure
    for normalization, depth in itertools.product(NORMALIZATIONS, DEPTHS):
        shared, tuned = [], []
        for seed in (1000, 1001):
            accuracy, best = cells(table, seed), tuned_rates(table, seed)
            shared.append(accuracy[normalization, depth, best["none", 1]])
            tuned.append(accuracy[normalization, depth, best[normalization, depth]])
        name = f"{SHORT[normalization]}, depth {depth}"
        (x,), (y,) = line(figure, f"shared/{name}")
        assert x == pytest.approx(np.mean(shared), rel=1e-12)
        assert line(figure, f"tuned/{name}")[0] == pytest.approx([np.mean(tuned)], rel=1e-12)
        assert figure.axes[0].get_yticklabels()[int(y)].get_text() == name


def test_shares_of_pairs(drawn: Drawn, table: pd.DataFrame) -> None:
    figure = drawn["swapped_ranks"].figure
    for owner in itertools.product(NORMALIZATIONS, DEPTHS):
        swapped, gaps = [], []
        for seed in (1000, 1001):
            accuracy, best = cells(table, seed), tuned_rates(table, seed)
            turned = apart = 0
            for a, b in itertools.combinations(best, 2):
                shared = accuracy[(*a, best[owner])] - accuracy[(*b, best[owner])]
                tuned = accuracy[(*a, best[a])] - accuracy[(*b, best[b])]
                turned += shared * tuned < 0 and min(abs(shared), abs(tuned)) > 0.01 + 1e-6
                apart += abs(shared) > 0.05 + 1e-6 and abs(tuned) <= 0.05 + 1e-6
            swapped.append(turned / 36)
            gaps.append(apart / 36)
        name = f"{SHORT[owner[0]]}, depth {owner[1]}"
        for kind, values in (("swapped", swapped), ("gap", gaps)):
            mean, low, high = student(values) if values[0] != values[1] else (values[0], values[0], values[0])
            assert line(figure, f"{kind}/{name}")[0] == pytest.approx([mean], abs=1e-12)
            assert interval(figure, f"{kind} interval/{name}") == pytest.approx([low, high], abs=1e-9)
