"""Intervals and tests against published tables, closed forms, scipy, exact enumeration and simulation."""

import functools
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy import stats

from experiments.core.verdicts import statistics as st

repeatable = settings(derandomize=True)
samples = some.lists(some.floats(-1e3, 1e3), min_size=2, max_size=12).map(lambda x: np.array(x))


def share_covered(intervals, truth):
    return ((intervals[..., 0] <= truth) & (truth <= intervals[..., 1])).mean()


# --- Student ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("confidence", [0.5, 0.95, 1 - 0.05 / 12])
def test_student_interval_is_scipys(confidence):
    values = np.random.default_rng(0).normal(2, 3, (4, 7))
    for row, interval in zip(values, st.student_interval(values, confidence), strict=True):
        expected = stats.ttest_1samp(row, 0).confidence_interval(confidence)
        np.testing.assert_allclose(interval, expected, rtol=1e-12)


def test_student_alpha_is_the_t_tests_p_and_the_nearer_boundarys():
    values = np.random.default_rng(1).normal(0.3, 1, (5, 10))
    p = stats.ttest_1samp(values, 0.1, axis=1).pvalue
    np.testing.assert_allclose(st.student_alpha(values, 0.1), p, rtol=1e-12)
    both = np.maximum(p, stats.ttest_1samp(values, -0.1, axis=1).pvalue)
    np.testing.assert_allclose(st.student_alpha(values, (-0.1, 0.1)), both, rtol=1e-12)


def test_nadeau_bengio_multiplies_the_variance():
    values, n, overlap = np.arange(10.0), 10, 3 / 7
    plain, wide = st.student_interval(values, 0.95), st.student_interval(values, 0.95, overlap=overlap)
    assert np.ptp(wide) / np.ptp(plain) == pytest.approx(math.sqrt(1 + n * overlap), rel=1e-12)
    gap = values.mean() - 2.0
    t = gap / math.sqrt(values.var(ddof=1) * (1 / n + overlap))
    assert st.student_alpha(values, 2.0, overlap=overlap) == pytest.approx(2 * stats.t.sf(t, n - 1), rel=1e-12)


@pytest.mark.parametrize("values", [np.full(10, 0.1 + 0.2), np.array([0.3, 0.1 + 0.2] * 5)])
def test_a_sample_without_spread_takes_its_resolution_at_any_confidence(values):
    for confidence in (0.5, 0.95, 0.999):
        interval = st.student_interval(values, confidence, resolution=0.01)
        np.testing.assert_allclose(interval, [0.29, 0.31], atol=1e-12)
    assert st.student_alpha(values, 0.305, resolution=0.01) == 1.0
    assert st.student_alpha(values, 0.32, resolution=0.01) == 0.0


def test_one_seed_has_no_interval():
    with pytest.raises(ValueError, match="at least 2 seeds, not 1"):
        st.student_interval(np.array([1.0]), 0.95)


@repeatable
@given(samples, some.floats(-1e3, 1e3))
def test_an_interval_drawn_at_its_alpha_touches_the_boundary(values, boundary):
    alpha = float(st.student_alpha(values, boundary))
    if st.is_constant(values) or not 1e-9 < alpha < 1 - 1e-9:
        return
    low, high = st.student_interval(values, 1 - alpha)
    scale = np.abs(values).max() + abs(boundary)
    assert min(abs(low - boundary), abs(high - boundary)) <= 1e-5 * scale


# --- proportions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [  # Newcombe, Statistics in Medicine 17 (1998) 857-872, table I; the last from Wilson's formula, n / (n + z²)
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (10, 10, 0.7225, 1.0),
    ],
)
def test_wilson_interval_as_published(successes, n, low, high):
    np.testing.assert_allclose(st.wilson_interval(successes, n, 0.95), [low, high], atol=5e-5)


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [  # Altman et al. (2000) p. 52; Fagerland et al. (2017) chapter 8, twice
        ((14, 5, 0, 22), 0.011, 0.226),
        ((1, 1, 7, 12), -0.507, -0.026),
        ((59, 6, 16, 80), -0.1186, -0.0046),
    ],
)
def test_newcombe_paired_interval_as_published(table, low, high):
    atol = 6e-4 if abs(low * 1e3) % 1 == 0 else 6e-5
    np.testing.assert_allclose(st.newcombe_paired_interval(table, 0.95), [low, high], atol=atol)


@repeatable
@given(some.tuples(*[some.integers(0, 12)] * 4).filter(lambda table: sum(table) > 1))
def test_newcombe_interval_holds_the_difference_widens_and_mirrors(table):
    both, first, second, neither = table
    intervals = np.array([st.newcombe_paired_interval(table, c) for c in (0.5, 0.9, 0.99, 0.9999)])
    difference = (first - second) / sum(table)
    assert (intervals[:, 0] <= difference + 1e-12).all()
    assert (intervals[:, 1] >= difference - 1e-12).all()
    assert (np.diff(intervals[:, 0]) <= 1e-12).all()
    assert (np.diff(intervals[:, 1]) >= -1e-12).all()
    assert np.abs(intervals).max() <= 1 + 1e-12
    swapped = st.newcombe_paired_interval((both, second, first, neither), 0.9)
    np.testing.assert_allclose(swapped, -intervals[1][::-1], atol=1e-12)


def test_mcnemar_is_the_binomial_tail_of_the_discordant_pairs():
    assert st.mcnemar_p(10, 2) == pytest.approx(2 * (1 + 12 + 66) / 2**12, rel=1e-12)
    assert st.mcnemar_p(1, 7) == pytest.approx(0.0703, abs=5e-5)  # Fagerland et al. (2013), BMC 13:91
    assert st.mcnemar_p(0, 0) == 1.0


def test_share_counts_are_the_cells_of_the_table():
    first = np.array([1, 1, 1, 0, 0, 0, 0, 1.0])
    second = np.array([1, 0, 0, 1, 0, 0, 0, 1.0])
    assert st.share_counts([first]).tolist() == [4, 4]
    assert st.share_counts([first, second]).tolist() == [2, 2, 1, 3]
    assert st.share_counts([np.ones(3)]).tolist() == [3, 0]
    for wrong in ([np.array([0.5, 1.0])], []):
        with pytest.raises(ValueError, match="0 or 1"):
            st.share_counts(wrong)


@pytest.mark.parametrize("confidence", [0.95, 1 - 0.05 / 12])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.8, 0.9])
def test_the_smallest_n_that_could_confirm_is_the_smallest_by_search(threshold, confidence):
    alone = next(n for n in range(1, 200) if st.wilson_interval(n, n, confidence)[0] > threshold)
    assert st.smallest_confirming_n(threshold, confidence) == alone
    pairs = next(n for n in range(1, 200) if st.newcombe_paired_interval((0, n, 0, 0), confidence)[0] > threshold)
    assert st.smallest_confirming_n(threshold, confidence, paired=True) == pairs
    assert st.confirmable(alone, threshold, confidence)
    assert not st.confirmable(alone - 1, threshold, confidence)


def test_ten_of_ten_cannot_confirm_eight_in_ten():
    assert not st.confirmable(10, 0.8, 0.95)
    assert st.confirmable(30, 0.8, 0.95)
    with pytest.raises(ValueError, match="below 1"):
        st.smallest_confirming_n(1.0, 0.95)


# --- smallest alpha, Holm, Welch, bootstrap --------------------------------------------------------------------------


def test_smallest_alpha_by_bisection_is_the_closed_form():
    values = np.random.default_rng(2).normal(0.5, 1, 10)
    for boundaries in ([0.1], [-0.2, 0.2], [2.0]):
        found = st.smallest_alpha(lambda c: st.student_interval(values, c), boundaries)
        assert found == pytest.approx(float(st.student_alpha(values, boundaries)), rel=1e-6)
    for successes, p0 in ((27, 0.7), (3, 0.5), (30, 0.8)):
        z = abs(successes / 30 - p0) / math.sqrt(p0 * (1 - p0) / 30)  # Wilson's interval inverts the score test
        found = st.smallest_alpha(lambda c, k=successes: st.wilson_interval(k, 30, c), [p0])
        assert found == pytest.approx(2 * stats.norm.sf(z), rel=1e-4)


def test_smallest_alpha_at_its_ends():
    assert st.smallest_alpha(lambda c: st.wilson_interval(15, 30, c), [0.5]) == pytest.approx(1.0, abs=1e-8)
    assert st.smallest_alpha(lambda _: np.array([-1.0, 1.0]), [0.0]) == 1.0
    assert st.smallest_alpha(lambda _: np.array([1.0, 2.0]), [0.0]) == pytest.approx(1e-12, rel=1e-6)


def test_holm_as_worked_by_hand():
    levels, adjusted = st.holm(np.array([0.01, 0.04, 0.03, 0.005]))
    np.testing.assert_allclose(levels, [0.05 / 3, 0.025, 0.025, 0.0125], rtol=1e-12)
    np.testing.assert_allclose(adjusted, [0.03, 0.06, 0.06, 0.02], rtol=1e-12)
    assert [part.size for part in st.holm(np.empty(0))] == [0, 0]


@repeatable
@given(some.lists(some.floats(0, 1), min_size=1, max_size=10))
def test_holm_passes_exactly_where_the_adjusted_p_is_below_alpha(p_values):
    p = np.array(p_values)
    levels, adjusted = st.holm(p)
    clear = np.abs(adjusted - 0.05) > 1e-9
    np.testing.assert_array_equal((p < levels)[clear], (adjusted < 0.05)[clear])
    assert ((levels >= 0.05 / len(p)) & (levels <= 0.05)).all()


def test_welch_interval_by_satterthwaites_formula():
    rng = np.random.default_rng(3)
    one, two = rng.normal(1, 1, 8), rng.normal(0, 3, 12)
    v1, v2 = one.var(ddof=1) / 8, two.var(ddof=1) / 12
    df = (v1 + v2) ** 2 / (v1**2 / 7 + v2**2 / 11)
    half = stats.t.ppf(0.95, df) * math.sqrt(v1 + v2)
    difference = one.mean() - two.mean()
    np.testing.assert_allclose(st.welch_interval(one, two, 0.9), [difference - half, difference + half], rtol=1e-12)
    flat = st.welch_interval(np.full(5, 3.0), np.full(5, 1.0), 0.95, resolution=0.1)
    np.testing.assert_allclose(flat, [1.9, 2.1], rtol=1e-12)


def test_bootstrap_is_fixed_and_close_to_the_normal_interval():
    values = np.random.default_rng(4).normal(0, 1, 400)
    low, high = st.bootstrap_interval(values)
    half = 1.96 * values.std(ddof=1) / 20
    np.testing.assert_allclose([low, high], [values.mean() - half, values.mean() + half], atol=0.1 * half)
    np.testing.assert_array_equal(st.bootstrap_interval(values), [low, high])


@repeatable
@given(samples)
def test_bootstrap_is_never_nan(values):
    low, high = st.bootstrap_interval(values, resamples=100)
    assert values.min() - 1e-9 <= low <= high <= values.max() + 1e-9


def test_bootstrap_of_identical_values_is_their_value_and_of_nearly_identical_ones_finite():
    np.testing.assert_array_equal(st.bootstrap_interval(np.full(10, 0.7)), [0.7, 0.7])
    low, high = st.bootstrap_interval(np.array([0, 1, 3, 4]) * 1e-110)  # the acceleration underflows to 0 / 0
    assert 0 <= low < high <= 4e-110


# --- planning --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "n"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_seeds_needed_are_the_textbooks(size, n):
    """One-sample t test, two-sided .05, power .80, as every table of Cohen's d has it."""
    values = np.array([-1.0, 1.0] * 5)
    values = size + values / values.std(ddof=1)
    assert st.seeds_for_mean(values, 0.0) == n
    assert st.student_power([size], 1.0, n) >= 0.8 > st.student_power([size], 1.0, n - 1)


def test_an_equivalence_needs_the_seeds_that_clear_both_its_boundaries():
    values = np.array([-1.0, 1.0] * 5)
    values /= values.std(ddof=1)
    n = st.seeds_for_mean(values, (-0.5, 0.5))
    assert st.student_power([0.5, 0.5], 1.0, n) >= 0.8 > st.student_power([0.5, 0.5], 1.0, n - 1)
    assert n > st.seeds_for_mean(values, 0.5)
    assert st.seeds_for_mean(values + 1, (-0.5, 0.5)) == st.seeds_for_mean(values + 1, 0.5)


def test_power_is_what_simulation_finds():
    rng, runs = np.random.default_rng(5), 20_000
    values = rng.normal(1.0, 1.0, (runs, 12))
    found = (st.student_interval(values, 0.99)[:, 0] > 0.2).mean()
    assert found == pytest.approx(st.student_power([0.8], 1.0, 12, 0.01), abs=0.012)  # 3.5 standard errors
    inside = st.student_interval(values, 0.95)
    found = ((inside[:, 0] > 0.1) & (inside[:, 1] < 1.9)).mean()
    assert found == pytest.approx(st.student_power([0.9, 0.9], 1.0, 12), abs=0.012)


def test_plans_that_no_number_of_seeds_reaches():
    values = np.arange(10.0)
    assert st.seeds_for_mean(values, values.mean()) is None
    assert st.seeds_for_mean(values, 3.0) is not None
    # Nadeau and Bengio's variance does not vanish with n.
    assert st.seeds_for_mean(values, 3.0, overlap=0.5) is None
    assert st.seeds_for_mean(np.full(5, 1.0), 0.5, resolution=0.1) == 2
    assert st.seeds_for_mean(np.full(5, 1.0), 0.95, resolution=0.1) is None
    assert st.seeds_for_share(np.array([15, 15]), 0.5) is None


def test_the_plan_of_a_proportion_has_about_the_power_it_promises():
    n = st.seeds_for_share(np.array([21, 9]), 0.5)
    k = np.arange(n + 1)
    lows = np.array([st.wilson_interval(int(i), n, 0.95)[0] for i in k])
    assert stats.binom.pmf(k, n, 0.7)[lows > 0.5].sum() == pytest.approx(0.8, abs=0.06)
    n = st.seeds_for_share(np.array([6, 15, 3, 6]), 0.0)
    tables = np.random.default_rng(6).multinomial(n, [0.2, 0.5, 0.1, 0.2], 300)
    power = np.mean([st.newcombe_paired_interval(table, 0.95)[0] > 0 for table in tables.tolist()])
    assert power == pytest.approx(0.8, abs=0.1)


# --- what was simulated before the rules were written ----------------------------------------------------------------


def test_fixed_test_images_make_a_seeds_only_interval_too_short_and_disjoint_ones_do_not():
    """Two conditions differ on 17 % of the images, five points net; seeds add their own spread."""
    rng, runs, truth = np.random.default_rng(7), 4000, 0.05
    seeds = rng.normal(0, 0.012, (runs, 10))
    outcomes = [0.06, 0.83, 0.11]  # only the second right, both or neither, only the first
    fixed = rng.multinomial(2000, outcomes, (runs, 1))
    disjoint = rng.multinomial(1000, outcomes, (runs, 10))
    gap_fixed, gap_disjoint = ((c[..., 2] - c[..., 0]) / c.sum(-1) for c in (fixed, disjoint))
    assert 0.5 < share_covered(st.student_interval(gap_fixed + seeds, 0.95), truth) < 0.76
    assert share_covered(st.student_interval(gap_disjoint + seeds, 0.95), truth) == pytest.approx(0.95, abs=0.011)


def test_nadeau_bengio_mends_the_coverage_of_overlapping_splits():
    """Ten random 70/30 splits of one data set; the learner is the training mean, its risk known exactly."""
    rng, runs, n_train, n_test = np.random.default_rng(8), 1000, 70, 30
    data = rng.normal(size=(runs, 1, n_train + n_test))
    order = rng.random((runs, 10, n_train + n_test)).argsort(-1)
    shuffled = np.take_along_axis(np.broadcast_to(data, order.shape), order, -1)
    test, train = shuffled[..., :n_test], shuffled[..., n_test:]
    loss = ((test - train.mean(-1, keepdims=True)) ** 2).mean(-1)
    risk = 1 + 1 / n_train
    assert share_covered(st.student_interval(loss, 0.95), risk) < 0.75
    mended = share_covered(st.student_interval(loss, 0.95, overlap=n_test / n_train), risk)
    assert mended == pytest.approx(0.95, abs=0.03)


def test_a_mean_of_outcomes_that_work_or_fail_covers_two_thirds():
    outcomes = np.tri(11, 10, -1)  # k successes of 10, k = 0 … 10
    intervals = st.student_interval(outcomes, 0.95)
    covered = (intervals[:, 0] <= 0.1) & (intervals[:, 1] >= 0.1)
    assert stats.binom.pmf(np.arange(11), 10, 0.1)[covered].sum() == pytest.approx(0.65, abs=0.005)


def test_at_power_eighty_the_same_verdict_recurs_in_two_thirds_of_repetitions():
    rng, n = np.random.default_rng(9), 34
    decided = st.student_alpha(rng.normal(0.5, 1, (20_000, 2, n)), 0.0) < 0.05
    assert (decided[:, 0] == decided[:, 1]).mean() == pytest.approx(0.68, abs=0.015)


# --- false verdicts --------------------------------------------------------------------------------------------------


def false_families(values, boundaries, judged):
    """Share of families, of values (families, claims, n), in which a claim that sits on its boundary is decided."""
    p = st.student_alpha(values, boundaries)
    return np.mean([((row < st.holm(row)[0]) & judged).any() for row in p])


@pytest.mark.parametrize("boundaries", [[0.0], [-2.0, 0.0]], ids=["effect", "equivalence"])
@pytest.mark.parametrize("n_true", [0, 5], ids=["all on the boundary", "five far away"])
def test_at_most_one_family_in_twenty_holds_a_false_verdict(boundaries, n_true):
    """The worst case: means on a boundary, where either side is wrong; the true claims leave Holm a larger level."""
    rng, families, m = np.random.default_rng(10), 4000, 8
    values = rng.normal(0, 1, (families, m, 10))
    values[:, :n_true] += 20
    error = 3 * math.sqrt(0.05 * 0.95 / families)
    share = false_families(values, boundaries, np.arange(m) >= n_true)
    assert 0.05 - 0.005 - error < share < 0.05 + error
    unadjusted = (st.student_alpha(values, boundaries)[:, n_true:] < 0.05).any(-1).mean()
    assert unadjusted > 0.1


def test_claims_that_share_a_condition_stay_within_the_level():
    rng, families, m = np.random.default_rng(11), 4000, 8
    values = rng.normal(0, 1, (families, m, 10)) - rng.normal(0, 1, (families, 1, 10))
    assert false_families(values, [0.0], np.full(m, True)) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 4000)


def test_false_verdicts_of_wilson_by_enumeration():
    """At n = 30 a proportion on its p0 is decided in < 5 % on average over p0, in 7.6 % at worst."""
    k = np.arange(31)
    intervals = np.array([st.wilson_interval(int(i), 30, 0.95) for i in k])
    grid = np.linspace(0.05, 0.95, 181)
    false = np.array([stats.binom.pmf(k, 30, p)[(intervals[:, 0] > p) | (intervals[:, 1] < p)].sum() for p in grid])
    assert false.mean() < 0.05
    assert false.max() < 0.076


def test_false_verdicts_of_newcombe_by_enumeration(monkeypatch):
    """At n = 30 a difference on its threshold is decided in < 5 % on average over the cases, in 6.9 % at worst."""
    monkeypatch.setattr(st, "wilson_interval", functools.cache(st.wilson_interval))
    n = 30
    tables = np.array([t for t in itertools.product(range(n + 1), repeat=3) if sum(t) <= n])
    tables = np.column_stack([tables, n - tables.sum(1)])
    intervals = np.array([st.newcombe_paired_interval(table, 0.95) for table in tables.tolist()])
    cases = ([4, 1, 1, 4], [1, 1, 1, 1], [1, 4, 4, 1], [8, 0.5, 0.5, 1], [0, 1, 1, 0], [3, 4, 1, 2], [0, 9, 1, 0])
    false = []
    for cells in np.array(cases) / np.sum(cases, axis=1, keepdims=True):
        truth = cells[1] - cells[2]
        wrong = (intervals[:, 0] > truth) | (intervals[:, 1] < truth)
        false.append(stats.multinomial.pmf(tables, n, cells)[wrong].sum())
    assert np.mean(false) < 0.05
    assert max(false) < 0.069
