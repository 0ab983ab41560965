"""Do results come out again: the same seeds value by value, other seeds by their verdicts; and what is kept of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiments.core.definitions import Claim
from experiments.core.execution.workers import Pool
from experiments.core.files import environment, run_directory
from experiments.core.verdicts import reference, verification
from experiments.core.verdicts.inference import SeedValues
from experiments.core.verdicts.reference import Reference
from experiments.core.verdicts.verdict import read_verdicts
from experiments.core.verdicts.verdicts import judge

WORDS = {"statement": "s", "statement_fr": "s", "slide": "s"}
EFFECT = Claim("L01-a", kind="effect", measure="m", where={}, above=1.0, n=10, **WORDS)
SHARE = Claim("L02-b", kind="proportion", measure="m", where={}, above=0.5, **WORDS)
EXACT = Claim("L03-c", kind="exact", check="c", tolerance=1e-9, n=2, **WORDS)
CLAIMS = (EFFECT, SHARE, EXACT)


def samples(effect: float, successes: int = 30, error: float = 0.0, seed: int = 0) -> dict[str, SeedValues]:
    noise = np.random.default_rng(seed).normal(size=10)
    values = effect + 0.1 * (noise - noise.mean()) / noise.std(ddof=1)
    share = np.array([1.0] * successes + [0.0] * (30 - successes))
    return {"L01-a": SeedValues(values), "L02-b": SeedValues(share), "L03-c": SeedValues(np.full(2, error), draws=400)}


def kept(found: dict[str, SeedValues]) -> Reference:
    verdicts = judge("tiny", CLAIMS, found, official=True, scope="")
    return Reference("", {}, tuple(verdicts), {name: sample.values.tolist() for name, sample in found.items()}, {})


def again(then: dict[str, SeedValues], now: dict[str, SeedValues], *, same_arithmetic: bool = True) -> dict[str, str]:
    judged = judge("tiny", CLAIMS, now, official=True, scope="")
    answers = verification.same_seeds(kept(then), judged, now, same_arithmetic=same_arithmetic)
    return {answer.id: answer.answer for answer in answers}


def elsewhere(then: dict[str, SeedValues], now: dict[str, SeedValues]) -> dict[str, verification.Answer]:
    judged = judge("tiny", CLAIMS, now, official=False, scope="")
    return {answer.id: answer for answer in verification.other_seeds(kept(then), judged, now)}


def test_equal_values_are_identical():
    assert set(again(samples(2.0), samples(2.0)).values()) == {"identical"}


@pytest.mark.parametrize(("shift", "expected"), [(0.499, "same"), (0.501, "different")])
def test_the_same_seeds_may_be_off_by_half_a_threshold(shift, expected):
    assert again(samples(2.0), samples(2.0 + shift)) == {"L01-a": expected, "L02-b": "identical", "L03-c": "identical"}


def test_one_seed_alone_can_be_too_far_off():
    now = samples(2.0)
    now["L01-a"] = SeedValues(now["L01-a"].values + np.eye(10)[3])
    assert again(samples(2.0), now)["L01-a"] == "different"


def test_another_outcome_of_one_seed_is_different_and_an_error_within_tolerance_the_same():
    assert again(samples(2.0, 30), samples(2.0, 29))["L02-b"] == "different"
    assert again(samples(2.0), samples(2.0, error=1e-12))["L03-c"] == "same"
    assert again(samples(2.0), samples(2.0, error=1e-3))["L03-c"] == "different"


def test_under_another_arithmetic_seeds_that_part_ways_are_judged_as_other_seeds():
    """Only these: what stayed within half a threshold is the same, and an exact claim must be exact everywhere."""
    redrawn = samples(2.0)
    redrawn["L01-a"] = SeedValues(np.roll(redrawn["L01-a"].values, 1) + 0.6 * np.array([1.0, -1.0] * 5))
    assert again(samples(2.0), redrawn) == {"L01-a": "different", "L02-b": "identical", "L03-c": "identical"}
    elsewhere = again(samples(2.0), redrawn, same_arithmetic=False)
    assert elsewhere == {"L01-a": "stable", "L02-b": "identical", "L03-c": "identical"}
    assert again(samples(2.0), samples(2.1), same_arithmetic=False)["L01-a"] == "same"
    assert again(samples(2.0), samples(3.0), same_arithmetic=False)["L01-a"] == "shifted"
    assert again(samples(2.0), samples(0.2), same_arithmetic=False)["L01-a"] == "contradiction"
    assert again(samples(2.0), samples(2.0, error=1.0), same_arithmetic=False)["L03-c"] == "different"


def test_what_another_arithmetic_is():
    here = environment.describe("cpu")
    assert environment.other_arithmetic(here, {**here, "git": {"commit": "0"}, "lock_sha256": "0"}) == ""
    there = {**here, "flags": {**here["flags"], "cpu_capability": "NEON"}, "threads": here["threads"] + 1}
    now = f"{here['flags']['cpu_capability']}, threads {here['threads'] + 1} -> {here['threads']}"
    assert environment.other_arithmetic(there, here) == f"cpu_capability NEON -> {now}"
    # Two makes of one capability; and a reference of the time when nobody measured.
    measured = here["flags"]["rounding"]
    there = {**here, "flags": {**here["flags"], "rounding": "0"}}
    assert environment.other_arithmetic(there, here) == f"rounding 0 -> {measured}"
    there = {**here, "flags": {name: value for name, value in here["flags"].items() if name != "rounding"}}
    assert environment.other_arithmetic(there, here) == f"rounding not recorded -> {measured}"


@pytest.mark.parametrize("function", ["exp", "tanh", "erf", "matmul"])
def test_the_fingerprint_of_the_arithmetic_is_another_where_a_function_rounds_otherwise(monkeypatch, function):
    """In processes of their own, and by other instructions of the processor, it is in `stress/test_processes.py`."""
    measured = environment.rounding.__wrapped__
    usual, usually = measured(), getattr(torch.Tensor, function)
    assert measured() == usual
    name = "__matmul__" if function == "matmul" else function
    monkeypatch.setattr(torch.Tensor, name, lambda *tensors: torch.nextafter(usually(*tensors), torch.zeros(())))
    assert measured() != usual


def test_other_seeds_are_stable_or_flip_or_shift_or_contradict():
    stable = elsewhere(samples(2.0), samples(2.0, seed=1))
    assert {answer.answer for answer in stable.values()} == {"stable"}
    flip = elsewhere(samples(1.08), samples(1.05, seed=1))["L01-a"]
    assert (flip.reference, flip.verdict, flip.answer) == ("CONFIRMED", "INCONCLUSIVE", "flip")
    assert elsewhere(samples(2.0), samples(3.0, seed=1))["L01-a"].answer == "shifted"
    against = elsewhere(samples(2.0), samples(0.2, seed=1))["L01-a"]
    assert (against.reference, against.verdict, against.answer) == ("CONFIRMED", "REFUTED", "contradiction")
    assert elsewhere(samples(2.0), samples(2.0, error=1.0))["L03-c"].answer == "contradiction"


def test_p_of_the_difference_is_welchs_and_holms():
    from scipy import stats

    then, now = samples(2.0), samples(2.05, successes=26, seed=1)
    answers = elsewhere(then, now)
    raw = [stats.ttest_ind(then[i].values, now[i].values, equal_var=False).pvalue for i in ("L01-a", "L02-b")]
    smaller, larger = sorted(raw)
    adjusted = {smaller: min(1.0, 2 * smaller), larger: max(min(1.0, 2 * smaller), larger)}
    for name, p in zip(("L01-a", "L02-b"), raw, strict=True):
        assert answers[name].p == pytest.approx(adjusted[p], abs=1e-6)


def test_the_summary_counts_and_says_whether_all_is_well():
    answers = [*elsewhere(samples(1.08), samples(1.05, seed=1)).values()]
    told = verification.summarize(answers)
    assert told["good"]
    assert told["counts"] == {"flip": 1, "stable": 2}
    assert not verification.summarize([replace(answers[0], answer="contradiction")])["good"]
    assert not verification.summarize([replace(answers[0], answer="different")])["good"]


@pytest.fixture(scope="module")
def kept_runs(tmp_path_factory):
    """Where `referenced` keeps the runs of its first use."""
    return tmp_path_factory.mktemp("kept") / "runs"


@pytest.fixture
def referenced(tiny, kept_runs):
    """The tiny experiment with its own results as the reference, and pages of its own; made once and copied."""
    tiny.edit("experiment.py", "L1-", "L01-")
    tiny.edit("experiment.py", "L2-", "L02-")
    tiny.edit("experiment.py", "L3-", "L03-")
    tiny.edit("experiment.py", "L4-", "L04-")
    if kept_runs.is_dir():
        shutil.copytree(kept_runs, "runs")
    else:
        assert tiny.run().code == 0
        shutil.copytree("runs", kept_runs)
    found = tuple(read_verdicts(Path("runs/tiny/verdicts.json")))
    results = tiny_results(tiny)
    values = {name: sample.values.tolist() for name, sample in results.samples.items()}
    run_directory.write_json(
        tiny.folder / reference.FILE, asdict(Reference("", results.environment, found, values, {}))
    )
    for name in ("README", "MODULES"):
        (tiny.folder.parent.parent / f"{name}.md").write_text("<!-- summary -->\nold\n<!-- end of summary -->\n")
    return tiny


@pytest.fixture
def ran_again(referenced):
    """Such an experiment whose runs `verify` has made already."""
    shutil.copytree("runs/tiny", "runs/verify/tiny")
    return referenced


def tiny_results(tiny):
    from experiments.core.commands import run as runner
    from experiments.core.execution import tuning

    plan = tiny.plan()
    return runner.judge(plan, tuning.read_chosen(plan), Pool(jobs=1))


def test_verify_runs_beside_the_results_and_finds_them_identical(referenced):
    before = Path("runs/tiny/results.csv").read_bytes()
    answer = referenced.call("verify", "tiny", "--logger=csv")
    assert answer.code == 0, answer.err
    assert answer.out.splitlines()[-1].endswith(": 4 identical")
    assert Path("runs/verify/tiny/results.csv").read_bytes() == before
    assert {row["answer"] for row in json.loads(Path("runs/verify/tiny/verify.json").read_text())} == {"identical"}


def test_verify_finds_what_changed(ran_again):
    path = ran_again.folder / reference.FILE
    content = json.loads(path.read_text())
    content["values"]["L01-difference"][0] += 0.2
    path.write_text(json.dumps(content))
    answer = ran_again.call("verify", "tiny", "--logger=csv")
    assert answer.code == 1
    assert "different: L01-difference" in answer.out


def test_verify_says_that_the_reference_comes_from_another_arithmetic(ran_again):
    path = ran_again.folder / reference.FILE
    content = json.loads(path.read_text())
    content["values"]["L01-difference"][0] += 0.2
    content["environment"]["flags"]["cpu_capability"] = "NEON"
    path.write_text(json.dumps(content))
    answer = ran_again.call("verify", "tiny", "--logger=csv")
    assert answer.code == 0, answer.out
    assert "cpu_capability NEON -> " in answer.out
    assert answer.out.splitlines()[-1].endswith(": 1 stable, 3 identical")


@pytest.mark.parametrize(("flag", "code"), [("rounding", 0), (None, 1)])
def test_an_effect_that_another_arithmetic_moves_is_no_failure(ran_again, flag, code):
    path = ran_again.folder / reference.FILE
    content = json.loads(path.read_text())
    content["values"]["L01-difference"] = [value + 100 for value in content["values"]["L01-difference"]]
    if flag:
        content["environment"]["flags"][flag] = "0"
    path.write_text(json.dumps(content))
    answer = ran_again.call("verify", "tiny", "--logger=csv")
    assert answer.code == code, answer.out
    said = "Other arithmetic than the reference's" if flag else "The arithmetic of the reference: compared seed by seed"
    assert said in answer.out
    assert ("shifted: L01-difference" if flag else "different: L01-difference") in answer.out


def test_a_verdict_that_is_contradicted_is_one_under_any_arithmetic(ran_again):
    path = ran_again.folder / reference.FILE
    content = json.loads(path.read_text())
    content["environment"]["flags"]["rounding"] = "0"
    content["values"]["L02-sum"] = [value + 100 for value in content["values"]["L02-sum"]]
    (claim,) = [row for row in content["verdicts"] if row["id"] == "L02-sum"]
    assert claim["verdict"] == "CONFIRMED"
    claim["verdict"] = "REFUTED"
    path.write_text(json.dumps(content))
    answer = ran_again.call("verify", "tiny", "--logger=csv")
    assert answer.code == 1
    assert "contradiction: L02-sum" in answer.out


def test_verify_of_the_exact_claims_trains_nothing(referenced):
    answer = referenced.call("verify", "tiny", "--exact", "--logger=csv")
    assert answer.code == 0, answer.err
    assert answer.out.splitlines()[-1].endswith(": 1 identical")
    assert {path.name for path in Path("runs/verify/tiny").iterdir() if path.is_dir()} == {"check=zero"}


def test_another_seed_set_is_compared_and_kept(referenced):
    answer = referenced.call("verify", "tiny", "--first-seed=2000", "--keep", "--logger=csv")
    assert answer.code in (0, 1), answer.err
    stored = json.loads((referenced.folder / reference.OTHER_SEEDS).read_text())
    assert stored["first_seed"] == 2000
    assert {row["id"] for row in stored["claims"]} == {"L01-difference", "L02-sum", "L04-check"}
    page = (referenced.folder.parent.parent / "README.md").read_text()
    assert "make exp-tiny" in page
    assert "contradictions, " in page
    assert "## L04 · " in (referenced.folder.parent.parent / "VERDICTS.md").read_text()


@pytest.mark.parametrize("option", ["--scale=smoke", "--seeds=2", "--data=digits"])
def test_only_the_official_set_up_can_be_verified(referenced, option):
    answer = referenced.call("verify", "tiny", option)
    assert (answer.code, answer.err) == (
        2,
        "error: verify runs what the reference is of: it takes no --scale, --seeds or --data\n",
    )


def test_only_answers_of_other_seeds_are_kept(referenced):
    answer = referenced.call("verify", "tiny", "--keep")
    assert (answer.code, answer.err) == (2, "error: --keep is about another seed set: give --first-seed as well\n")
    assert not (referenced.folder / reference.OTHER_SEEDS).exists()


def test_without_a_reference_there_is_nothing_to_verify(tiny):
    answer = tiny.call("verify", "tiny")
    assert answer.code == 2
    assert answer.err == "error: 'tiny' has no reference yet; first: make reference EXP=tiny\n"


BROKEN: dict[str, Callable[[dict[str, Any]], object]] = {
    "nothing": lambda _: {},
    "a list": lambda _: [1],
    "a number": lambda _: 3,
    "no verdicts": lambda good: {**good, "verdicts": None},
    "verdicts that are numbers": lambda good: {**good, "verdicts": [3]},
    "a verdict of another version": lambda good: {**good, "verdicts": [{"id": "L01-difference"}]},
    "a mean that is a text": lambda good: {**good, "measures": {"base": {"a": ["x", 1, 2]}}},
    "an effect that is a text": lambda good: {**good, "verdicts": [{**good["verdicts"][0], "effect": "x"}]},
    "values that are a number": lambda good: {**good, "values": 3},
    "values that are texts": lambda good: {**good, "values": {**good["values"], "L01-difference": ["a"]}},
    "a claim without values": lambda good: {**good, "values": {}},
    "an environment that is a list": lambda good: {**good, "environment": [1]},
    "flags that are a list": lambda good: {**good, "environment": {"flags": [1]}},
}


def test_what_a_newer_version_adds_to_a_reference_does_not_matter(referenced):
    path = referenced.folder / reference.FILE
    good, kept = json.loads(path.read_text()), reference.read("tiny")
    rows = [{**row, "more": [1]} for row in good["verdicts"]]
    path.write_text(json.dumps({**good, "more": {"a": 1}, "verdicts": rows}))
    assert reference.read("tiny") == kept


def test_a_reference_that_is_none_is_one_line(referenced):
    path = referenced.folder / reference.FILE
    good = json.loads(path.read_text())
    texts = ["", "{", "[" * 100_000, *(json.dumps(change(good)) for change in BROKEN.values())]
    for text in texts:
        path.write_text(text)
        answer = referenced.call("verify", "tiny", "--logger=csv")
        expected = f"error: '{path}' is no reference as this version writes it; again: make reference EXP=tiny\n"
        assert (answer.code, answer.err) == (2, expected), text[:100]
