"""Made-up data against their law: scikit-learn's geometry, scipy's distributions, and the seed alone."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import linprog
from scipy.spatial import cKDTree
from sklearn.datasets import make_circles, make_moons, make_multilabel_classification

from datamodules import synthetic
from datamodules.points import FUNCTIONS, Boolean, Circles, Moons, Separable, Spirals, moon, polar
from datamodules.synthetic import LeastSquares, MultiLabel

CLASSES = {
    "separable": (Separable, {}),
    "boolean": (Boolean, {"noise": 0.4}),
    "moons": (Moons, {}),
    "circles": (Circles, {}),
    "spirals": (Spirals, {}),
    "least_squares": (LeastSquares, {}),
    "multi_label": (MultiLabel, {"standardize": False}),
}
WITH_CLASSES = [name for name, (cls, _) in CLASSES.items() if cls not in (LeastSquares, MultiLabel)]
LARGE = {"num_train": 20_000}


def build(name: str, seed: int = 1000, **options):
    cls, usual = CLASSES[name]
    module = cls(**{"batch_size": "full", "seed": seed} | usual | options)
    module.setup()
    return module


def parts(module):
    return module.train, module.val, module.test


# What all of them promise


@pytest.mark.parametrize("name", CLASSES)
def test_sizes_kinds_and_names(name):
    module = build(name)
    assert module.name == name
    assert (module.info.samples, module.info.licence, module.info.download) == (0, "MIT", "")
    assert module.info.source.startswith("made here from the seed; ")
    assert module.info.outputs == {"least_squares": "columns", "multi_label": "labels"}.get(name, "classes")
    for (x, y), size in zip(parts(module), (200, 100, 1000), strict=True):
        assert (x.shape, x.dtype) == ((size, *module.sample_shape), torch.float32)
        if module.info.outputs == "classes":
            assert (y.shape, y.dtype) == ((size,), torch.int64)
            assert y.unique().tolist() == list(range(module.num_classes))
        else:
            assert (y.shape, y.dtype) == ((size, module.num_classes), torch.float32)


@pytest.mark.parametrize("name", CLASSES)
def test_the_seed_alone_decides(name):
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    one = build(name)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    expected = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    two = build(name)
    assert torch.equal(torch.random.get_rng_state(), expected[0])
    assert (np.random.get_state()[1] == expected[1]).all()  # noqa: NPY002
    for a, b in zip(itertools.chain(*parts(one)), itertools.chain(*parts(two)), strict=True):
        assert torch.equal(a, b)
    assert one.sha256 == two.sha256 != build(name, seed=1001).sha256
    assert one.load() is one.load()


@pytest.mark.parametrize("name", CLASSES)
def test_no_sample_is_in_two_parts_or_in_two_seeds(name):
    modules = [build(name, seed, **LARGE) for seed in (0, 1, 1000, 2**32 - 1)]
    rows = torch.cat([torch.cat([x, y.reshape(len(x), -1)], dim=1) for module in modules for x, y in parts(module)])
    # Counts of words can coincide by chance; fifty of twenty rarely do.
    assert len(rows.unique(dim=0)) >= len(rows) * (0.999 if name == "multi_label" else 1)
    assert modules[0].disjoint_test
    assert modules[0].num_disjoint_tests == synthetic.ANY_NUMBER_OF_SEEDS > 2**32


@settings(max_examples=12)
@given(small=st.integers(6, 60), more=st.integers(0, 60), stratify=st.booleans())
@pytest.mark.parametrize("name", CLASSES)
def test_more_samples_contain_the_fewer_and_move_no_other_part(name, small, more, stratify):
    stratify = stratify and name in WITH_CLASSES
    usual = build(name, stratify=stratify, num_train=small, num_val=small, num_test=small)
    for moved, part in enumerate(("num_train", "num_val", "num_test")):
        sizes = dict.fromkeys(("num_train", "num_val", "num_test"), small) | {part: small + more}
        larger = build(name, stratify=stratify, **sizes)
        # Standardised or not, what the training split decides is the same where it is.
        for index, (one, other) in enumerate(zip(parts(usual), parts(larger), strict=True)):
            for a, b in zip(one, other, strict=True):
                assert len(b) == small + more * (index == moved)
                assert torch.equal(a, b[:small])


@pytest.mark.parametrize("name", WITH_CLASSES)
def test_classes_are_equally_likely_or_take_turns(name):
    module = build(name, **LARGE)
    shares = module.train[1].bincount() / 20_000
    likely = 1 / module.num_classes
    assert (shares - likely).abs().max() < 5 * (likely * (1 - likely) / 20_000) ** 0.5
    assert len(set(module.train[1].bincount().tolist())) > 1
    stratified = build(name, stratify=True, num_train=31, num_val=17, num_test=100)
    for _, y in parts(stratified):
        assert (y.bincount() - len(y) * likely).abs().max() <= 1


@pytest.mark.parametrize("name", CLASSES)
def test_it_can_be_standardised(name):
    x = build(name, standardize=True).train[0]
    torch.testing.assert_close(x.mean(0), torch.zeros(x.shape[1]), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std(0, correction=0), torch.ones(x.shape[1]), atol=1e-5, rtol=0)


def test_word_counts_are_standardised_unless_one_says_otherwise():
    assert MultiLabel(batch_size=1, seed=0).standardize
    assert not Moons(batch_size=1, seed=0).standardize


# Uniform numbers and what is made of them


def test_uniform_numbers_lie_strictly_between_0_and_1_and_begin_alike():
    u = synthetic.uniform(3, "anything", 1000, 7)
    assert u.dtype == torch.float64
    assert 0 < u.min() < u.max() < 1
    assert torch.equal(synthetic.uniform(3, "anything", 13, 7), u[:13])


@pytest.mark.parametrize(
    ("law", "truth"), [("gaussian", stats.norm()), ("laplace", stats.laplace()), ("student", stats.t(df=2))]
)
def test_noises_are_scipys_quantiles(law, truth):
    u = torch.linspace(1e-6, 1 - 1e-6, 1001, dtype=torch.float64)
    np.testing.assert_allclose(synthetic.NOISES[law](u), truth.ppf(u.numpy()), rtol=1e-9, atol=1e-12)
    ends = torch.tensor([2.0**-54, 1 - 2.0**-53], dtype=torch.float64)
    assert synthetic.NOISES[law](ends).float().isfinite().all()


# Separable points


@settings(max_examples=40)
@given(dimension=st.integers(1, 40), margin=st.floats(0.001, 10), seed=st.integers(0, 2**32 - 1), data=st.data())
def test_every_point_keeps_the_margin_on_the_side_of_its_label(dimension, margin, seed, data):
    module = build("separable", seed, dimension=dimension, margin=margin, stratify=data.draw(st.booleans()))
    assert module.normal.norm().item() == pytest.approx(1, abs=1e-12)
    for x, y in parts(module):
        distance = (x.double() @ module.normal) * (2 * y - 1)
        assert distance.min() > margin - 1e-6 * max(1, margin) * dimension**0.5
        assert distance.min() > 0
        assert (x.double() - (2 * y - 1).unsqueeze(1) * margin * module.normal).abs().max() < 1 + 1e-5


def test_a_linear_program_finds_the_plane_and_the_margin_is_reached():
    module = build("separable", dimension=3, margin=0.2, num_train=2000)
    x, y = module.train
    signed = (x * (2 * y - 1).unsqueeze(1)).double().numpy()
    found = linprog(np.zeros(3), A_ub=-signed, b_ub=-np.ones(len(signed)), bounds=(None, None))
    assert found.success
    assert 0.2 < (torch.from_numpy(signed) @ module.normal).min() < 0.21


def test_halves_of_the_cube_are_uniform_before_they_are_moved():
    module = build("separable", dimension=3, margin=0.5, **LARGE)
    x, y = module.train
    back = x.double() - (2 * y - 1).unsqueeze(1) * 0.5 * module.normal
    for column in back.T:
        assert stats.kstest(column.numpy(), stats.uniform(-1, 2).cdf).pvalue > 1e-4


def test_planes_differ_by_seed():
    normals = torch.stack([Separable(batch_size=1, seed=seed, dimension=5).normal for seed in range(50)])
    assert (normals @ normals.T - torch.eye(50)).abs().max() < 0.999
    assert normals.mean(0).norm() < 0.5


# Boolean functions

# Values where (x1, x2) is (false, false), (false, true), (true, false), (true, true).
TRUTH = {
    "contradiction": (0, 0, 0, 0),
    "and": (0, 0, 0, 1),
    "x1_and_not_x2": (0, 0, 1, 0),
    "x1": (0, 0, 1, 1),
    "x2_and_not_x1": (0, 1, 0, 0),
    "x2": (0, 1, 0, 1),
    "xor": (0, 1, 1, 0),
    "or": (0, 1, 1, 1),
    "nor": (1, 0, 0, 0),
    "xnor": (1, 0, 0, 1),
    "not_x2": (1, 0, 1, 0),
    "x2_implies_x1": (1, 0, 1, 1),
    "not_x1": (1, 1, 0, 0),
    "x1_implies_x2": (1, 1, 0, 1),
    "nand": (1, 1, 1, 0),
    "tautology": (1, 1, 1, 1),
}


@pytest.mark.parametrize("function", TRUTH)
def test_named_functions_are_themselves(function):
    module = build("boolean", function=function, noise=0.0)
    assert torch.equal(module.train[0], torch.tensor([[-1.0, -1], [-1, 1], [1, -1], [1, 1]]))
    assert tuple(module.train[1].tolist()) == TRUTH[function]
    assert torch.equal(build("boolean", function=FUNCTIONS.index(function), noise=0.0).train[1], module.train[1])


def test_the_numbers_are_the_sixteen_functions():
    tables = [tuple(build("boolean", function=number, noise=0.0).train[1].tolist()) for number in range(16)]
    assert len(set(tables)) == len(FUNCTIONS) == len(TRUTH) == 16
    assert [sum(value << i for i, value in enumerate(values)) for values in tables] == list(range(16))


def test_without_noise_the_parts_are_the_four_points_whatever_the_seed():
    module, other = (build("boolean", seed, noise=0.0, standardize=True) for seed in (0, 1))
    assert [len(y) for _, y in parts(module)] == [module.num_train, module.num_val, module.num_test] == [4, 4, 4]
    for x, y in (*parts(module), *parts(other)):
        assert torch.equal(x, torch.tensor([[-1.0, -1], [-1, 1], [1, -1], [1, 1]]))  # its mean is 0, its deviation 1
        assert y.tolist() == [0, 1, 1, 0]
    assert module.sha256 == other.sha256 != build("boolean", function="or", noise=0.0).sha256
    assert (module.num_disjoint_tests, module.disjoint_test) == (1, False)


def test_noisy_points_lie_around_the_corner_of_their_label():
    module = build("boolean", noise=0.2, **LARGE)
    x, y = module.train
    corner = x.sign()
    assert torch.equal((corner[:, 0] != corner[:, 1]).long(), y)  # five deviations from the axes
    deviations = ((x - corner) / 0.2).flatten()
    assert stats.kstest(deviations.numpy(), stats.norm.cdf).pvalue > 1e-4
    corners = ((corner + 1) / 2 @ torch.tensor([2.0, 1])).long().bincount(minlength=4) / 20_000
    assert (corners - 1 / 4).abs().max() < 5 * (3 / 16 / 20_000) ** 0.5


# Moons, circles, spirals


def distance_to_line(points: np.ndarray, line: np.ndarray, closed: bool) -> np.ndarray:
    """Distance of points (n, 2) from a polygonal line whose vertices are dense."""
    _, near = cKDTree(line).query(points)
    result = np.full(len(points), np.inf)
    for step in (-1, 1):
        a, other = line[near], near + step
        b = line[other % len(line) if closed else np.clip(other, 0, len(line) - 1)]
        length = np.maximum(((b - a) ** 2).sum(1), 1e-300)  # at an open end, from a vertex to itself
        along = np.clip(((points - a) * (b - a)).sum(1) / length, 0, 1)[:, None]
        result = np.minimum(result, np.linalg.norm(points - a - along * (b - a), axis=1))
    return result


@pytest.mark.parametrize(
    ("name", "options", "truth"),
    [
        ("moons", {}, lambda n: make_moons(n, shuffle=False)),
        ("circles", {}, lambda n: make_circles(n, shuffle=False, factor=0.5)),
        ("circles", {"factor": 0.8}, lambda n: make_circles(n, shuffle=False)),
    ],
)
def test_points_without_noise_lie_on_scikit_learns_curves(name, options, truth):
    curve, of = truth(40_000)
    x, y = build(name, noise=0.0, **options, **LARGE).train
    for label in (0, 1):
        line, points = curve[of == label], x[y == label].double().numpy()
        assert distance_to_line(points, line, closed=name == "circles").max() < 1e-6
        # And all along it: the points cover the curve as evenly as uniform numbers do.
        _, place = cKDTree(line).query(points)
        assert stats.kstest((place + 0.5) / len(line), stats.uniform.cdf).pvalue > 1e-4


def test_the_formulas_are_scikit_learns():
    x, y = make_moons(1000, shuffle=False)
    place = torch.linspace(0, 1, 500, dtype=torch.float64).repeat(2)
    np.testing.assert_allclose(moon(place, torch.from_numpy(y)), x, atol=1e-12)
    x, y = make_circles(1000, shuffle=False, factor=0.3)
    radius = torch.from_numpy(np.where(y == 0, 1.0, 0.3))
    np.testing.assert_allclose(polar(radius, torch.arange(1000).double() % 500 / 500), x, atol=1e-12)


@pytest.mark.parametrize("name", ["moons", "circles", "spirals"])
def test_noise_is_gaussian_of_the_deviation_given(name):
    clean, noisy = build(name, noise=0.0, **LARGE), build(name, noise=0.25, **LARGE)
    assert torch.equal(clean.train[1], noisy.train[1])
    deviations = (noisy.train[0] - clean.train[0]) / 0.25
    # Five standard errors of a deviation and of a correlation of 20,000.
    assert (deviations.std(0) - 1).abs().max() < 5 / (2 * 20_000) ** 0.5
    assert abs(np.corrcoef(deviations.T)[0, 1]) < 5 / 20_000**0.5
    for column in deviations.T:
        assert stats.kstest(column.numpy(), stats.norm.cdf).pvalue > 1e-4


@settings(max_examples=15)
@given(arms=st.integers(2, 9), turns=st.floats(0, 3), seed=st.integers(0, 10**6))
def test_spiral_arms_wind_as_defined(arms, turns, seed):
    module = build("spirals", seed, arms=arms, turns=turns, noise=0.0)
    assert module.num_classes == arms
    x, y = module.train
    radius = x.double().norm(dim=1)
    assert 0.1 - 1e-6 < radius.min() < radius.max() < 1 + 1e-6
    angle = 2 * np.pi * (y / arms + turns * (radius - 0.1) / 0.9)
    expected = radius.unsqueeze(1) * torch.stack([angle.cos(), angle.sin()], 1)
    torch.testing.assert_close(x.double(), expected, atol=1e-5, rtol=0)


# A line in noise


@pytest.mark.parametrize(
    ("noise", "truth"), [("gaussian", stats.norm()), ("laplace", stats.laplace()), ("student", stats.t(df=2))]
)
def test_the_rest_of_a_line_has_the_law_of_the_noise(noise, truth):
    module = build("least_squares", noise=noise, slope=-3.0, intercept=1.5, scale=0.7, **LARGE)
    x, y = module.train
    rest = (y - (-3.0 * x + 1.5)).flatten().double().numpy() / 0.7
    assert stats.kstest(rest, truth.cdf).pvalue > 1e-4
    assert stats.kstest(x.flatten().numpy(), stats.uniform(-1, 2).cdf).pvalue > 1e-4
    assert abs(stats.spearmanr(x.flatten(), rest).statistic) < 5 / 20_000**0.5


def test_a_center_moves_the_points_along_the_line_and_changes_no_draw():
    at_zero, moved = build("least_squares"), build("least_squares", center=3.0)
    for (x, y), (moved_x, moved_y) in zip((at_zero.train, at_zero.test), (moved.train, moved.test), strict=True):
        assert torch.allclose(moved_x, x + 3)
        assert torch.allclose(moved_y, y + 3 * at_zero.slope, atol=1e-5)


def test_least_squares_find_the_line():
    module = build("least_squares", **LARGE)
    x, y = (part.double().numpy().ravel() for part in module.train)
    fit = stats.linregress(x, y)
    assert abs(fit.slope - 2.0) < 5 * fit.stderr
    assert abs(fit.intercept - 0.5) < 5 * fit.intercept_stderr


# Several labels


def test_labels_are_distributed_like_scikit_learns():
    y = build("multi_label", **LARGE).train[1]
    number = y.sum(1).numpy()
    _, other = make_multilabel_classification(
        20_000, n_features=20, n_classes=6, n_labels=2, allow_unlabeled=True, random_state=0
    )
    ours, theirs = (np.bincount(n.astype(int), minlength=7) for n in (number, other.sum(1)))
    assert stats.chi2_contingency([ours, theirs]).pvalue > 1e-4
    poisson = stats.poisson(2).pmf(range(7))
    assert stats.chisquare(ours, 20_000 * poisson / poisson.sum()).pvalue > 1e-4
    assert set(y.unique().tolist()) == {0.0, 1.0}
    assert ours[0] > 2000  # samples without any label


def test_labels_are_drawn_by_their_probabilities_without_replacement():
    module = build("multi_label", labels=3, **LARGE)
    y = module.train[1]
    p = synthetic.uniform(1000, "labels", 3).numpy()
    p = p / p.sum()
    single, pair = y[y.sum(1) == 1], y[y.sum(1) == 2]
    assert stats.chisquare(single.sum(0), len(single) * p).pvalue > 1e-4
    left_out = [
        sum(p[a] * p[b] / (1 - p[a]) for a, b in itertools.permutations(set(range(3)) - {out})) for out in range(3)
    ]
    assert stats.chisquare((1 - pair).sum(0), len(pair) * np.array(left_out)).pvalue > 1e-4


def test_words_are_drawn_from_the_mean_of_the_labels_distributions():
    module = build("multi_label", **LARGE)
    x, y = module.train
    assert (x.sum(1) == 50).all()
    laws = synthetic.uniform(1000, "words", 6, 20).numpy()
    laws = laws / laws.sum(1, keepdims=True)
    kinds = [[], *[[label] for label in range(6)], *itertools.combinations(range(6), 2), (0, 1, 2)]
    tested = 0
    for kind in kinds:
        wanted = torch.zeros(6)
        wanted[list(kind)] = 1
        rows = x[(y == wanted).all(1)]
        if len(rows) < 20:
            continue
        expected = laws[list(kind)].mean(0) if kind else np.full(20, 1 / 20)
        assert stats.chisquare(rows.sum(0), rows.sum().item() * expected).pvalue > 1e-5
        tested += 1
    assert tested > 10


# Bad input


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (Separable, {"margin": 0}, "margin must be a finite number >= 0.001, not 0"),
        (Separable, {"margin": float("inf")}, "margin must be a finite number >= 0.001, not inf"),
        (Separable, {"dimension": 0}, "dimension must be a finite number >= 1, not 0"),
        (Boolean, {"function": 16}, r"unknown function '16': valid: 0 to 15, contradiction, nor, .*"),
        (Boolean, {"function": -1}, r"unknown function '-1': valid: 0 to 15, contradiction, nor, .*"),
        (Boolean, {"function": "XOR"}, r"unknown function 'XOR': did you mean 'xor'\? valid: 0 to 15, .*"),
        (Boolean, {"noise": -0.1}, "noise must be a finite number >= 0, not -0.1"),
        (Boolean, {"num_train": 5}, "num_train must be 4 without noise, the points there are, not 5"),
        (Boolean, {"num_test": 1000}, "num_test must be 4 without noise, the points there are, not 1000"),
        (Boolean, {"batch_size": 5}, "batch_size must be <= num_train = 4, not 5"),
        (Moons, {"noise": float("nan")}, "noise must be a finite number >= 0, not nan"),
        (Circles, {"noise": -1}, "noise must be a finite number >= 0, not -1"),
        (Circles, {"factor": 1}, "factor must be a finite number > 0 and < 1, not 1"),
        (Circles, {"factor": 0}, "factor must be a finite number > 0 and < 1, not 0"),
        (Spirals, {"arms": 1}, "arms must be a finite number >= 2, not 1"),
        (Spirals, {"turns": -1}, "turns must be a finite number >= 0, not -1"),
        (Spirals, {"noise": -1}, "noise must be a finite number >= 0, not -1"),
        (LeastSquares, {"noise": "cauchy"}, "unknown noise 'cauchy': valid: gaussian, laplace, student"),
        (LeastSquares, {"scale": 0}, "scale must be a finite number > 0, not 0"),
        (LeastSquares, {"slope": float("inf")}, "slope must be a finite number, not inf"),
        (LeastSquares, {"center": float("nan")}, "center must be a finite number, not nan"),
        (MultiLabel, {"dimension": 1}, "dimension must be a finite number >= 2, not 1"),
        (MultiLabel, {"labels": 0}, "labels must be a finite number >= 1, not 0"),
        (MultiLabel, {"mean_labels": 0}, "mean_labels must be a finite number > 0, not 0"),
        (Moons, {"num_train": 0}, "num_train must be >= 1, not 0"),
    ],
)
def test_bad_options_are_refused_at_once(cls, options, message):
    with pytest.raises(ValueError, match=f"^{message}$") as error:
        cls(**{"batch_size": 1, "seed": 0} | options)
    assert "\n" not in str(error.value)
