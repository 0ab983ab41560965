"""The README tells the truth: its example runs, its table is the reference, its commands exist."""

from __future__ import annotations

import csv
import math
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.core.definitions import INFERENTIAL, REFUTED
from experiments.core.grid import catalogue
from experiments.core.report import pages
from experiments.core.verdicts import reference

README = (catalogue.ROOT.parent / "README.md").read_text(encoding="utf-8")


EXAMPLE, CALLBACKS, COMMAND_LINE = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Run an example elsewhere, in this process; in one of its own it is in `stress/test_processes.py`."""
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)

    def call(text: str, *words: str) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", ["example.py", *words])
        names: dict[str, Any] = {"__name__": "__main__"}
        exec(text, names)
        return names

    return call


def test_the_example_runs_and_learns(run, tmp_path):
    assert run(EXAMPLE)["trainer"].callback_metrics["test/accuracy"] > 0.9
    assert not list(tmp_path.iterdir())


def test_callbacks_measure_a_module_of_ones_own_under_a_plain_trainer(run, tmp_path):
    assert len(CALLBACKS.splitlines()) <= 24
    run(CALLBACKS)
    (path,) = tmp_path.rglob("metrics.csv")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for name in ("gradient/delta_a/layer_01", "gradient/weight/output", "activation/mean/layer_01"):
        values = [float(row[name]) for row in rows if row[name]]
        assert len(values) > 2, name
        assert all(map(math.isfinite, values)), name


def test_ten_lines_of_lightnings_own_cli_train_a_config(run, tmp_path):
    assert len(COMMAND_LINE.splitlines()) <= 10
    run(COMMAND_LINE, "fit", "--config", str(catalogue.ROOT / "vanishing" / "base.yaml"), "--trainer.max_epochs=1")
    assert list(tmp_path.rglob("*.ckpt"))


def test_the_pages_are_what_the_references_say():
    for path, text in pages.pages(reference.all_kept(), reference.all_other_seeds()).items():
        assert path.read_text(encoding="utf-8") == text, path.name


def test_the_pages_change_with_the_references():
    kept = reference.all_kept()
    name = "vanishing"
    first, *others = kept[name].verdicts
    assert first.verdict == "CONFIRMED"
    changed = {**kept, name: replace(kept[name], verdicts=(replace(first, verdict="REFUTED"), *others))}
    before, after = (pages.pages(some, {}) for some in (kept, changed))
    different = {path.name for path, text in before.items() if after[path] != text}
    assert different == {"README.md", "VERDICTS.md"}


def test_every_experiment_has_a_reference_about_its_claims_as_they_are():
    kept = reference.all_kept()
    assert list(kept) == catalogue.names()
    for name, found in kept.items():
        assert {v.id for v in found.verdicts} == {claim.id for claim in catalogue.load(name).claims}, name


def test_every_claim_that_was_refuted_says_where_it_holds_and_no_other_does():
    refuted = {v.id for found in reference.all_kept().values() for v in found.verdicts if v.verdict == REFUTED}
    claims = [claim for name in catalogue.names() for claim in catalogue.load(name).claims]
    assert {claim.id for claim in claims if claim.holds} == {c.id for c in claims if c.id in refuted and not c.control}


def test_a_second_seed_set_answers_for_every_inferential_and_exact_claim():
    for name, content in reference.all_other_seeds().items():
        asked = {v.id for v in reference.read(name).verdicts if v.kind in (*INFERENTIAL, "exact")}
        assert {row["id"] for row in content["claims"]} == asked, name


def test_every_file_it_names_is_there():
    root = catalogue.ROOT.parent
    folders = "experiments|benchmarks|tests|stress|lightning_modules|datamodules"
    named = re.findall(rf"`((?:{folders})/[\w/.-]*)`|\]\(([\w/.-]+)\)", README)
    paths = {first or second for first, second in named}
    assert paths
    assert [path for path in paths if not (root / path).exists()] == []


def test_every_make_target_it_names_exists():
    makefile = (catalogue.ROOT.parent / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, flags=re.MULTILINE))
    targets |= {f"exp-{name.replace('_', '-')}" for name in catalogue.names()}
    named = set(re.findall(r"(?:^|`)make ([a-z][a-z-]*)", README, flags=re.MULTILINE))
    assert {"exp-vanishing", "test", "tensorboard"} <= named
    assert named - targets == set()


def test_thresholds_of_the_reference_are_those_of_the_claims():
    for name, found in reference.all_kept().items():
        kept = {verdict.id: verdict for verdict in found.verdicts}
        for claim in catalogue.load(name).claims:
            band = None if claim.within is None else (-claim.within, claim.within)
            given = [v for v in (claim.above, claim.below, band, claim.tolerance) if v is not None]
            assert kept[claim.id].threshold == (given[0] if given else None)
            assert kept[claim.id].n in (claim.n, 0)
            assert kept[claim.id].statement == claim.statement
