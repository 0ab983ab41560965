"""The README tells the truth: its example runs, its table is the reference, its commands exist."""

import csv
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from experiments.core.definitions import INFERENTIAL, REFUTED
from experiments.core.grid import catalogue
from experiments.core.report import pages
from experiments.core.verdicts import reference

README = (catalogue.ROOT.parent / "README.md").read_text(encoding="utf-8")


EXAMPLE, CALLBACKS, COMMAND_LINE = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def python(*words: str, cwd: Path) -> str:
    """Run Python elsewhere, with this repository on its path; give what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(catalogue.ROOT.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_example_runs_and_learns(tmp_path):
    printed = python("-c", EXAMPLE + "\nassert trainer.callback_metrics['test/accuracy'] > 0.9\n", cwd=tmp_path)
    assert "test/accuracy" in printed
    assert not list(tmp_path.iterdir())


def test_callbacks_measure_a_module_of_ones_own_under_a_plain_trainer(tmp_path):
    assert len(CALLBACKS.splitlines()) <= 24
    python("-c", CALLBACKS, cwd=tmp_path)
    (path,) = tmp_path.rglob("metrics.csv")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for name in ("gradient/delta_a/layer_01", "gradient/weight/output", "activation/mean/layer_01"):
        values = [float(row[name]) for row in rows if row[name]]
        assert len(values) > 2, name
        assert all(map(math.isfinite, values)), name


def test_ten_lines_of_lightnings_own_cli_train_a_config(tmp_path):
    assert len(COMMAND_LINE.splitlines()) <= 10
    (tmp_path / "train.py").write_text(COMMAND_LINE, encoding="utf-8")
    config = catalogue.ROOT / "vanishing" / "base.yaml"
    python("train.py", "fit", "--config", str(config), "--trainer.max_epochs=1", cwd=tmp_path)
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
