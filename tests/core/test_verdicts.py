"""Claims and samples in, verdicts out: the drawn interval is the verdict."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from experiments.core.definitions import Claim, DefinitionError
from experiments.core.files.errors import UserError
from experiments.core.verdicts import statistics as st
from experiments.core.verdicts.inference import SeedValues, decide, effect_reading, with_divergence
from experiments.core.verdicts.verdict import Verdict, read_verdicts, write_verdicts
from experiments.core.verdicts.verdicts import check_claims, judge


def claim(id="L01-a", kind="effect", **fields):
    if kind in ("exact", "transcription", "pitfall"):
        fields = {"check": "check", "tolerance": 1e-6} | fields
    elif "conditions" not in fields and kind != "not testable":
        fields = {"measure": "test_accuracy", "where": {"depth": 4}} | fields
    return Claim(id, statement="It is so.", statement_fr="C'est ainsi.", slide="A slide", kind=kind, **fields)


def effect(id="L01-a", **fields):
    return claim(id, "effect", **({} if "below" in fields else {"above": 0.05}) | fields)


def verdict_of(one, sample, **keywords):
    keywords = {"official": True, "scope": "digits, quick"} | keywords
    return judge("vanishing", [one], {one.id: sample}, **keywords)[0]


def spread(mean, half_width, n=10):
    """Return n values whose 95 % Student interval is mean ± half_width."""
    values = np.tile([-1.0, 1.0], n // 2)
    return mean + values * half_width / np.ptp(st.student_interval(values, 0.95)) * 2


# --- one claim -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mean", "half_width", "verdict", "reading"),
    [
        (0.20, 0.10, "CONFIRMED", ""),
        (0.10, 0.11, "INCONCLUSIVE", "open"),
        (0.10, 0.06, "INCONCLUSIVE", "real, size open"),
        (-0.10, 0.05, "REFUTED", "reversed"),
        (0.03, 0.01, "REFUTED", "smaller"),
        (0.00, 0.04, "REFUTED", "negligible"),
        (-0.03, 0.05, "REFUTED", "not as large"),
    ],
)
@pytest.mark.parametrize("direction", ["above", "below"])
def test_an_effect_and_its_readings(mean, half_width, verdict, reading, direction):
    sign = 1 if direction == "above" else -1
    one = effect(**{direction: sign * 0.05})
    row = verdict_of(one, SeedValues(sign * spread(mean, half_width)))
    assert (row.verdict, row.reading) == (verdict, reading)
    # In the measure's own unit, not oriented.
    np.testing.assert_allclose([row.ci_low, row.ci_high], [sign * mean - half_width, sign * mean + half_width])
    assert (row.direction, row.threshold) == (direction, sign * 0.05)


@pytest.mark.parametrize(
    ("mean", "half_width", "verdict"),
    [(0.01, 0.03, "CONFIRMED"), (0.04, 0.02, "INCONCLUSIVE"), (0.1, 0.04, "REFUTED"), (-0.1, 0.04, "REFUTED")],
)
def test_an_equivalence(mean, half_width, verdict):
    row = verdict_of(claim(kind="equivalence", within=0.05), SeedValues(spread(mean, half_width)))
    assert (row.verdict, row.reading, row.threshold) == (verdict, "", (-0.05, 0.05))


@pytest.mark.parametrize(
    ("mean", "half_width", "verdict"),
    [
        (0.01, 0.04, "INCONCLUSIVE"),
        (0.01, 0.02, "CONFIRMED"),
        # Better is not worse, however much better.
        (0.30, 0.10, "CONFIRMED"),
        (-0.05, 0.02, "REFUTED"),
        (-0.05, 0.04, "INCONCLUSIVE"),
    ],
)
@pytest.mark.parametrize("direction", ["above", "below"])
def test_a_non_inferiority(mean, half_width, verdict, direction):
    sign = 1 if direction == "above" else -1
    one = claim(kind="non-inferiority", **{direction: -sign * 0.02})
    check_claims([one])
    row = verdict_of(one, SeedValues(sign * spread(mean, half_width)))
    assert (row.verdict, row.reading, row.threshold, row.direction) == (verdict, "", -sign * 0.02, direction)
    assert row.family == "vanishing"


def test_a_proportion_is_wilsons_against_p0():
    outcomes = np.repeat([1.0, 0.0], [29, 1])
    row = verdict_of(claim(kind="proportion", above=0.8, n=30), SeedValues(outcomes))
    np.testing.assert_allclose([row.ci_low, row.ci_high], st.wilson_interval(29, 30, 0.95))
    assert (row.verdict, row.effect) == ("CONFIRMED", pytest.approx(29 / 30))
    assert verdict_of(claim(kind="proportion", below=0.8, n=30), SeedValues(outcomes)).verdict == "REFUTED"
    assert verdict_of(claim(kind="proportion", below=0.2, n=30), SeedValues(1 - outcomes)).verdict == "CONFIRMED"
    with pytest.raises(ValueError, match=r"claim L01-a: a proportion takes 0 or 1"):
        verdict_of(claim(kind="proportion", above=0.5, n=30), SeedValues(outcomes / 2))


def test_a_proportion_of_two_conditions_is_newcombes_and_shows_mcnemar():
    first, second = np.repeat([1.0, 1, 0, 0], [4, 20, 2, 4]), np.repeat([1.0, 0, 1, 0], [4, 20, 2, 4])
    one = claim(kind="proportion", minus={"depth": 8}, above=0.2, n=30)
    row = verdict_of(one, SeedValues(first - second, arms=(first, second)))
    np.testing.assert_allclose([row.ci_low, row.ci_high], st.newcombe_paired_interval((4, 20, 2, 4), 0.95))
    assert (row.verdict, row.effect) == ("CONFIRMED", pytest.approx(0.6))
    assert row.p_mcnemar == pytest.approx(st.mcnemar_p(20, 2), rel=1e-12)
    assert row.correlation == pytest.approx(np.corrcoef(first, second)[0, 1])
    assert verdict_of(one, SeedValues(second - first, arms=(second, first))).reading == "reversed"
    with pytest.raises(ValueError, match=r"claim L01-a: .* each condition"):
        verdict_of(one, SeedValues((first > second).astype(float)))


def test_exact_needs_the_tolerance_and_200_draws():
    one = claim(kind="exact", tolerance=1e-6, n=2)
    good, bad = np.array([1e-9, 1e-7]), np.array([1e-9, 1e-5])
    assert verdict_of(one, SeedValues(good, draws=200)).verdict == "PASS"
    assert verdict_of(one, SeedValues(good, draws=200)).effect == 1e-7
    assert verdict_of(one, SeedValues(bad, draws=200)).verdict == "FAIL"
    assert verdict_of(one, SeedValues(np.array([math.nan, 0.0]), draws=200)).verdict == "FAIL"
    few = verdict_of(one, SeedValues(good, draws=199))
    assert (few.verdict, few.undecidable) == ("NONE", "199 draws; at least 200 are needed to pass")
    assert verdict_of(one, SeedValues(good, draws=200, undecidable="seed 1001 failed")).verdict == "NONE"


@pytest.mark.parametrize(
    ("kind", "seen", "not_seen"),
    [
        ("transcription", "to be checked against the slide", "not reproduced"),
        ("pitfall", "symptom shown", "symptom not shown"),
    ],
)
def test_transcriptions_and_pitfalls_are_notes_that_never_count(kind, seen, not_seen):
    one = claim(kind=kind, n=2)
    for error, counterexamples, reading in ((1e-9, 3, seen), (1e-9, 0, not_seen), (1.0, 3, not_seen)):
        row = verdict_of(one, SeedValues(np.full(2, error), counterexamples=counterexamples))
        assert (row.verdict, row.reading, row.family) == ("NOTE", reading, "")


def test_kinds_without_a_verdict_are_shown():
    claims = [claim("L01-a", "measured"), claim("L02-a", "census"), claim("L03-a", "not testable")]
    samples = {"L01-a": SeedValues(spread(3.0, 1.0)), "L02-a": SeedValues(np.array([0.97]))}
    measured, census, untestable = judge("x", claims, samples, official=True, scope="s")
    assert [row.verdict for row in (measured, census, untestable)] == ["NONE"] * 3
    np.testing.assert_allclose([measured.ci95_low, measured.ci95_high], [2.0, 4.0])
    assert (census.effect, census.ci95_low, untestable.effect) == (0.97, None, None)
    assert untestable.undecidable == ""


# --- runs that fail, never arrive, or do not differ ------------------------------------------------------------------


def test_a_diverged_run_counts_as_declared():
    accuracies, diverged = np.array([0.9, math.nan, 0.8]), np.array([False, True, False])
    declared = with_divergence(effect(if_diverged=0.1), accuracies, diverged)
    np.testing.assert_array_equal(declared, [0.9, 0.1, 0.8])
    np.testing.assert_array_equal(with_divergence(effect(if_diverged=0.1), np.full(3, 0.5), diverged), [0.5, 0.1, 0.5])
    outcomes = with_divergence(claim(kind="proportion", above=0.1), np.array([1, math.nan, 1]), diverged)
    np.testing.assert_array_equal(outcomes, [1, 0, 1])
    np.testing.assert_array_equal(with_divergence(effect(), np.full(3, 0.5), diverged), [0.5, math.nan, 0.5])
    row = verdict_of(effect(if_diverged=0.1, n=3), SeedValues(declared, n_diverged=1))
    assert (row.effect, row.n, row.n_diverged, row.undecidable) == (pytest.approx(0.6), 3, 1, "")


@pytest.mark.parametrize("values", [spread(0.5, 0.01), np.r_[spread(0.5, 0.01)[:9], math.nan]])
def test_a_diverged_run_without_a_declared_value_is_undecidable_and_says_so(values):
    row = verdict_of(effect(), SeedValues(values, n_diverged=1))
    assert (row.verdict, row.reading, row.ci_low) == ("INCONCLUSIVE", "undecidable", None)
    assert row.undecidable == "1 diverged, and the claim declares no value for a run that does"
    assert row.p_holm == 1.0


def test_values_that_are_not_finite_are_undecidable():
    row = verdict_of(effect(if_diverged=0.1), SeedValues(np.r_[spread(0.5, 0.01)[:9], math.inf]))
    assert (row.verdict, row.undecidable) == ("INCONCLUSIVE", "1 of 10 values are not finite")
    assert row.effect is None


def test_a_sample_without_spread_is_as_wide_as_its_resolution():
    flat = np.full(10, 0.06)
    assert verdict_of(effect(), SeedValues(flat, resolution=0.005)).verdict == "CONFIRMED"
    wide = verdict_of(effect(), SeedValues(flat, resolution=0.02))
    assert (wide.verdict, wide.ci_low, wide.ci_high) == ("INCONCLUSIVE", pytest.approx(0.04), pytest.approx(0.08))
    none = verdict_of(effect(), SeedValues(flat))
    assert (none.verdict, none.undecidable) == (
        "INCONCLUSIVE",
        "all values are equal, and the measure declares no resolution",
    )


def test_a_mostly_censored_comparison_is_judged_on_the_share_that_arrived():
    slow, fast = np.repeat([0.0, 1.0], [24, 6]), np.ones(30)  # only 6 of the slow arm's 30 arrived
    rng = np.random.default_rng(0)
    ratio = rng.normal(-0.3, 0.1, 30)  # log10 of (fast / slow), from min(T, budget)
    one = effect(below=-0.2, n=30, minus={"depth": 8})
    sample = SeedValues(ratio, arrived=(fast, slow), n_censored=24)
    row = verdict_of(one, sample)
    assert (row.judged_on, row.verdict, row.direction, row.threshold) == ("share", "CONFIRMED", "above", 0.0)
    np.testing.assert_allclose([row.ci_low, row.ci_high], st.newcombe_paired_interval((6, 24, 0, 0), 0.95))
    assert row.effect == pytest.approx(0.8)
    assert row.bound == f"<= {ratio.mean():.4g}"
    reverse = verdict_of(one, SeedValues(-ratio, arrived=(slow, fast), n_censored=24))
    assert (reverse.verdict, reverse.reading, reverse.bound) == ("REFUTED", "reversed", f">= {-ratio.mean():.4g}")
    both = verdict_of(one, SeedValues(ratio, arrived=(slow, slow), n_censored=48))
    assert (both.verdict, both.bound) == ("INCONCLUSIVE", "unbounded")
    half = np.repeat([0.0, 1.0], 15)
    assert verdict_of(one, SeedValues(ratio, arrived=(fast, half), n_censored=15)).judged_on == "value"


def test_one_mostly_censored_arm_is_judged_on_whether_most_runs_arrive():
    sample = SeedValues(np.full(30, 500.0), arrived=(np.repeat([0.0, 1.0], [28, 2]),), n_censored=28)
    assert verdict_of(effect(above=100.0, n=30), sample).verdict == "CONFIRMED"
    row = verdict_of(effect(below=-1.0, n=30), sample)
    assert (row.verdict, row.threshold, row.bound) == ("REFUTED", 0.5, ">= 500")
    equal = verdict_of(claim(kind="equivalence", within=1.0, n=30), sample)
    assert (equal.verdict, "censored" in equal.undecidable) == ("INCONCLUSIVE", True)


def test_overlapping_splits_widen_the_interval_and_narrow_the_scope():
    values = spread(0.3, 0.1)
    row = verdict_of(effect(), SeedValues(values, overlap=3 / 7))
    half = 0.1 * math.sqrt(1 + 10 * 3 / 7)
    np.testing.assert_allclose([row.ci_low, row.ci_high], [0.3 - half, 0.3 + half])
    assert row.p == pytest.approx(float(st.student_alpha(values, 0.05, overlap=3 / 7)), rel=1e-12)
    assert row.scope == "digits, quick, on this data set"
    assert verdict_of(effect(), SeedValues(values)).scope == "digits, quick"


# --- official, exploratory, no verdict -------------------------------------------------------------------------------


def test_only_the_frozen_n_is_official():
    assert verdict_of(effect(n=10), SeedValues(spread(0.3, 0.1))).official
    fewer = verdict_of(effect(n=10), SeedValues(spread(0.3, 0.1, 8)))
    assert (fewer.official, fewer.verdict) == (False, "CONFIRMED")
    assert not verdict_of(effect(n=10), SeedValues(spread(0.3, 0.1, 12))).official
    assert not verdict_of(effect(n=10), SeedValues(spread(0.3, 0.1)), official=False).official
    assert verdict_of(effect(), SeedValues(spread(0.3, 0.1)), official={"L01-a": True}).official
    assert not verdict_of(effect(), SeedValues(spread(0.3, 0.1)), official=lambda one: one.id != "L01-a").official


def test_no_verdict_at_a_scale_without_one_or_with_one_seed_or_none():
    smoke = verdict_of(effect(), SeedValues(np.array([0.3, 0.4])), verdicts=False)
    assert (smoke.verdict, smoke.reading, smoke.effect, smoke.p_holm) == ("NONE", "", pytest.approx(0.35), None)
    np.testing.assert_allclose([smoke.ci_low, smoke.ci_high], st.student_interval(np.array([0.3, 0.4]), 0.95))
    assert verdict_of(claim(kind="exact", n=1), SeedValues(np.zeros(1), draws=200), verdicts=False).verdict == "NONE"
    single = verdict_of(effect(), SeedValues(np.array([0.3])))
    assert (single.verdict, single.effect, single.ci_low) == ("NONE", 0.3, None)
    assert single.undecidable == "an interval needs at least 2 seeds, not 1"
    row = judge("vanishing", [effect()], {}, official=True, scope="s")[0]
    assert (row.verdict, row.n, row.official, row.undecidable) == ("NONE", 0, False, "none of its runs is finished")


# --- families --------------------------------------------------------------------------------------------------------

kinds = some.sampled_from(["above", "below", "within", "share", "pair"])
families = some.lists(
    some.tuples(kinds, some.booleans(), some.integers(0, 2**32 - 1), some.floats(-4, 4)), min_size=1, max_size=6
)


def build(index, kind, primary, seed, shift):
    """Return a claim and a sample for it, anywhere from clearly false to clearly true."""
    rng, name = np.random.default_rng(seed), f"L{index:02d}-x"
    if kind == "share":
        outcomes = (rng.random(12) < 0.5 + shift / 8).astype(float)
        return claim(name, "proportion", above=0.4, n=12, primary=primary), SeedValues(outcomes)
    if kind == "pair":
        arms = ((rng.random(12) < 0.5 + shift / 8).astype(float), (rng.random(12) < 0.4).astype(float))
        one = claim(name, "proportion", above=0.1, n=12, primary=primary, minus={"depth": 8})
        return one, SeedValues(arms[0] - arms[1], arms=arms)
    values = rng.normal(shift, 1, 10)
    if kind == "within":
        return claim(name, "equivalence", within=1.0, primary=primary), SeedValues(values)
    return effect(name, primary=primary, **{kind: 1.0 if kind == "above" else -1.0}), SeedValues(values)


@settings(derandomize=True, max_examples=25)
@given(families)
def test_the_drawn_interval_is_the_verdict(family):
    built = [build(index, *spec) for index, spec in enumerate(family)]
    samples = {one.id: sample for one, sample in built}
    rows = judge("x", [one for one, _ in built], samples, official=True, scope="s")
    for (one, _), row in zip(built, rows, strict=True):
        low, high = row.ci_low, row.ci_high
        edges = row.threshold if isinstance(row.threshold, tuple) else (row.threshold,)
        contains = any(low <= edge <= high for edge in edges)
        assert (row.verdict == "INCONCLUSIVE") == contains
        if not contains:
            holds = {
                "above": low > edges[0],
                "below": high < edges[0],
                "within": edges[0] < low and high < edges[-1],
            }[row.direction]
            assert row.verdict == ("CONFIRMED" if holds else "REFUTED")
        assert low <= row.ci95_low <= row.ci95_high <= high
        if one.primary:
            assert row.family == "x"
            if abs(row.p_holm - 0.05) > 1e-6:
                assert (row.p_holm < 0.05) == (not contains)
        else:
            assert (row.family, row.p_holm, row.confidence) == ("", None, 0.95)
            assert (row.ci_low, row.ci_high) == (row.ci95_low, row.ci95_high)


def test_holm_draws_the_claims_of_a_family_and_leaves_the_others_plain():
    claims = [effect(f"L0{i}-a") for i in range(4)] + [effect("L08-b", primary=False), claim("L09-c", "exact", n=2)]
    halves = [0.02, 0.05, 0.149, 0.2, 0.149]
    samples = {one.id: SeedValues(spread(0.2, half)) for one, half in zip(claims, halves, strict=False)}
    rows = judge("x", claims, samples | {"L09-c": SeedValues(np.zeros(2), draws=200)}, official=True, scope="s")
    levels = [1 - row.confidence for row in rows[:5]]
    # The third is below .05 but not below .05 / 2: it and the fourth keep that level.
    np.testing.assert_allclose(levels, [0.05 / 4, 0.05 / 3, 0.05 / 2, 0.05 / 2, 0.05])
    assert [row.verdict for row in rows] == ["CONFIRMED"] * 2 + ["INCONCLUSIVE"] * 2 + ["CONFIRMED", "PASS"]
    np.testing.assert_allclose([rows[2].ci95_low, rows[2].ci95_high], [0.051, 0.349])
    # A new seed set is planned for the level that this claim is drawn at.
    for row, one in zip(rows[:5], claims, strict=False):
        assert row.seeds_needed == st.seeds_for_mean(samples[one.id].values, 0.05, 1 - row.confidence)
    assert rows[2].seeds_needed > rows[4].seeds_needed


def test_a_claim_without_a_sample_still_counts_in_its_family():
    claims = [effect("L01-a"), effect("L02-a")]
    row = judge("x", claims, {"L01-a": SeedValues(spread(0.2, 0.149))}, official=True, scope="s")[0]
    assert (row.verdict, row.confidence) == ("INCONCLUSIVE", 0.975)


def test_an_a_a_experiment_confirms_nothing_beyond_its_level():
    """The same condition twice on disjoint seeds: four effects, worst case of a tiny smallest effect of interest."""
    rng, experiments = np.random.default_rng(12), 100
    claims = [effect(f"L0{i}-a", above=1e-6) for i in range(4)]
    decided = confirmed = 0
    for _ in range(experiments):
        arms = rng.normal(0.8, 0.02, (4, 2, 10))
        samples = {one.id: SeedValues(a - b, arms=(a, b)) for one, (a, b) in zip(claims, arms, strict=True)}
        found = [row.verdict for row in judge("a-a", claims, samples, official=True, scope="s")]
        confirmed += "CONFIRMED" in found
        decided += set(found) != {"INCONCLUSIVE"}
    assert decided / experiments < 0.05 + 3 * math.sqrt(0.05 * 0.95 / experiments)
    assert confirmed / experiments < 0.025 + 3 * math.sqrt(0.025 * 0.975 / experiments)


def test_a_true_effect_is_found_as_often_as_planned():
    rng, experiments, n = np.random.default_rng(13), 150, 15
    one = effect(above=0.2, n=n)
    samples = rng.normal(1.0, 1.0, (experiments, n))  # 0.8 standard deviations above: power .80 at n = 15
    found = [verdict_of(one, SeedValues(values)).verdict for values in samples]
    assert found.count("CONFIRMED") / experiments == pytest.approx(0.82, abs=0.1)
    assert found.count("REFUTED") == 0


# --- definitions -----------------------------------------------------------------------------------------------------


def test_a_proportion_whose_n_cannot_confirm_it_is_refused():
    ten_of_ten = claim(kind="proportion", above=0.8, n=10)
    with pytest.raises(DefinitionError, match=r"L01-a: 10 successes of n = 10 would not confirm it; give n >= 16"):
        check_claims([ten_of_ten])
    check_claims([claim(kind="proportion", above=0.8, n=16)])
    with pytest.raises(DefinitionError, match="would not confirm"):
        check_claims([claim(kind="proportion", below=0.2, n=10)])
    with pytest.raises(DefinitionError, match="would not confirm"):
        check_claims([claim(kind="proportion", above=0.7, minus={"depth": 8}, n=10)])
    check_claims([claim(kind="proportion", above=0.5, minus={"depth": 8}, n=10)])


def test_what_could_confirm_alone_is_refused_in_a_family_too_large_for_it():
    one = claim("L01-a", "proportion", above=0.8, n=16)
    others = [effect(f"L0{i}-a") for i in range(2, 8)]
    with pytest.raises(DefinitionError, match="L01-a"):
        check_claims([one, *others])
    secondary = claim("L01-a", "proportion", above=0.8, n=16, primary=False)
    check_claims([secondary, *others])
    check_claims([one, *(effect(f"L0{i}-a", primary=False) for i in range(2, 8))])


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (effect(above=0.0), "must be above > 0, not 0.0"),
        (effect(above=-0.1), "must be above > 0"),
        (effect(below=0.7), "must be below < 0"),
        (claim(kind="equivalence", within=0.0), "`within` must be > 0"),
        (claim(kind="non-inferiority", above=0.0), "the margin of a non-inferiority must be above < 0, not 0.0"),
        (claim(kind="non-inferiority", below=-0.1), "the margin of a non-inferiority must be below > 0, not -0.1"),
        (claim(kind="proportion", above=1.0, n=30), r"above in \[0, 1\) or below in \(0, 1\]"),
        (claim(kind="proportion", below=0.0, n=30), r"above in \[0, 1\) or below in \(0, 1\]"),
        (claim(kind="proportion", below=0.3, minus={"depth": 8}, n=30), r"below in \(-1, 0\]"),
    ],
)
def test_thresholds_that_mean_nothing_are_refused(one, message):
    with pytest.raises(DefinitionError, match=message):
        check_claims([one])


# --- verdicts.json ---------------------------------------------------------------------------------------------------

CONTRACT = [
    "id",
    "experiment",
    "lecture_line",
    "slide",
    "source",
    "kind",
    "statement",
    "statement_fr",
    "measure",
    "conditions",
    "scope",
    "family",
    "direction",
    "threshold",
    "effect",
    "ci_low",
    "ci_high",
    "confidence",
    "ci95_low",
    "ci95_high",
    "p_holm",
    "n",
    "n_diverged",
    "n_censored",
    "seeds_needed",
    "verdict",
    "reading",
    "official",
]


def test_verdicts_are_strict_json_and_come_back(tmp_path):
    claims = [
        effect("L44-decay", minus={"depth": 8}, control=True, note="a note"),
        claim("L45-flat", "equivalence", within=0.1),
        effect("L46-lost"),
        claim("L47-left", "proportion", above=0.5, n=30),
    ]
    samples = {
        "L44-decay": SeedValues(spread(0.3, 0.1)),
        "L45-flat": SeedValues(spread(0.0, 0.01)),
        "L46-lost": SeedValues(np.full(10, math.nan)),
        "L47-left": SeedValues(np.ones(30)),
    }
    rows = judge("vanishing", claims, samples, official=True, scope="digits, quick")
    path = tmp_path / "verdicts.json"
    write_verdicts(path, rows)

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    raw = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    assert [key for key in raw[0] if key in CONTRACT] == CONTRACT
    assert raw[0]["conditions"] == [{"depth": 4}, {"depth": 8}]
    assert (raw[1]["threshold"], raw[2]["effect"], raw[0]["lecture_line"]) == ([-0.1, 0.1], None, "L44")
    assert (raw[0]["control"], raw[0]["note"], raw[0]["source"]) == (True, "a note", "lecture")
    assert read_verdicts(path) == rows
    assert all(isinstance(row, Verdict) for row in rows)


@pytest.mark.parametrize("text", ["{", "{}x", '[{"id": "L01"}]', "[1]", '{"id": "L01"}', "null"])
def test_a_file_that_holds_no_verdicts_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "verdicts.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"verdicts.json' does not hold verdicts") as caught:
        read_verdicts(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"absent.json' does not hold verdicts"):
        read_verdicts(tmp_path / "absent.json")


def test_an_interval_that_touches_the_threshold_decides_nothing():
    assert decide(0.05, 0.2, "above", 0.05) == "INCONCLUSIVE"
    assert decide(-0.2, -0.05, "below", -0.05) == "INCONCLUSIVE"
    assert decide(-0.05, 0.0, "within", (-0.05, 0.05)) == "INCONCLUSIVE"
    assert effect_reading(0.0, 0.2, "above", 0.05) == "open"
    assert effect_reading(0.0, 0.01, "above", 0.05) == "negligible"
