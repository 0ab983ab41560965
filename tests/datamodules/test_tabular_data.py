"""The tables against scikit-learn's own arrays."""

import numpy as np
import pytest
import sklearn.datasets
import torch
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import StandardScaler

from datamodules.base import Source
from datamodules.housing import CaliforniaHousing
from datamodules.tabular import BreastCancer, Diabetes, Iris, Wine

CLASSES = (Iris, Wine, BreastCancer)
BUNDLED = (*CLASSES, Diabetes)
SEEDS = (0, 1000, 1001)
# Single precision: a column whose mean is 16 deviations from 0 (the alcohol of wine) is rounded to 1.3e-6 of them.
TOLERANCE = 2e-6


def ready(kind, seed=1000, batch_size=16, **arguments):
    module = kind(batch_size=batch_size, seed=seed, **arguments)
    module.setup()
    return module


def parts(module):
    return zip((module.train, module.val, module.test), module.indices, strict=True)


def original(kind) -> tuple[np.ndarray, np.ndarray]:
    raw = {"scaled": False} if kind is Diabetes else {}
    return getattr(sklearn.datasets, f"load_{kind.name}")(return_X_y=True, **raw)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", BUNDLED)
def test_every_sample_is_scikit_learns(kind, seed):
    x, y = original(kind)
    target = {"standardize_targets": False} if kind is Diabetes else {}
    module = ready(kind, seed, standardize=False, **target)
    for (inputs, targets), rows in parts(module):
        assert inputs.dtype == torch.float32
        np.testing.assert_array_equal(inputs, x[rows].astype(np.float32))
        expected = y[rows].astype(np.float32)[:, None] if kind is Diabetes else y[rows]
        assert targets.dtype == (torch.float32 if kind is Diabetes else torch.int64)
        np.testing.assert_array_equal(targets, expected)


@pytest.mark.parametrize("kind", BUNDLED)
def test_columns_are_standardised_like_scikit_learn_does(kind):
    x, _ = original(kind)
    module = ready(kind)
    scaler = StandardScaler().fit(x[module.indices.train])
    for (inputs, _), rows in parts(module):
        np.testing.assert_allclose(inputs, scaler.transform(x[rows]), atol=TOLERANCE)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", BUNDLED)
def test_parts_are_about_60_20_20_percent_and_never_overlap(kind, seed):
    split = kind(batch_size=8, seed=seed).split()
    rows = torch.cat(list(split))
    assert len(rows) == len(rows.unique()) <= kind.info.samples
    for part, share in zip(split, (0.6, 0.2, 0.2), strict=True):
        assert abs(len(part) - share * kind.info.samples) < 2


@pytest.mark.parametrize("kind", BUNDLED)
def test_what_a_table_says_about_itself_is_so(kind):
    module = kind(batch_size=8, seed=0)
    source = module.load()
    assert len(source.x) == len(source.y) == kind.info.samples
    assert tuple(source.x.shape[1:]) == module.sample_shape == (module.num_features,)
    assert module.num_classes == (1 if kind is Diabetes else len(source.y.unique()))
    assert kind.info.outputs == ("columns" if kind is Diabetes else "classes")
    assert kind.location() == "bundled"
    assert module.num_disjoint_tests == 1
    assert kind.info.licence
    assert "https://" in kind.info.source


@pytest.mark.parametrize("kind", CLASSES)
def test_stratified_parts_hold_the_classes_in_proportion(kind):
    module = ready(kind, stratify=True)
    share = np.bincount(original(kind)[1]) / kind.info.samples
    for (_, y), _ in parts(module):
        assert np.abs(y.bincount().numpy() - share * len(y)).max() < 2


def test_validation_and_test_rows_leak_into_no_statistic():
    plain = ready(Diabetes)
    others = torch.cat([plain.indices.val, plain.indices.test])

    class Shifted(Diabetes):
        def load(self):
            source = super().load()
            x, y = source.x.clone(), source.y.clone()
            x[others] += 1e6
            y[others] -= 1e6
            return Source(x, y)

    shifted = ready(Shifted)
    assert torch.equal(shifted.train[0], plain.train[0])
    assert torch.equal(shifted.train[1], plain.train[1])
    assert torch.equal(shifted.target_mean, plain.target_mean)
    assert torch.equal(shifted.target_std, plain.target_std)
    assert shifted.test[0].min() > 100
    assert shifted.test[1].max() < -100


def test_targets_are_standardised_by_the_training_split_and_can_be_brought_back():
    y = original(Diabetes)[1]
    module = ready(Diabetes)
    of_training = y[module.indices.train]
    for (_, targets), rows in parts(module):
        assert targets.shape == (len(rows), 1)
        assert targets.dtype == torch.float32
        expected = (y[rows] - of_training.mean()) / of_training.std()
        np.testing.assert_allclose(targets[:, 0], expected, atol=1e-6)
        np.testing.assert_allclose(module.in_original_units(targets)[:, 0], y[rows], rtol=1e-6)


def test_raw_targets_are_in_their_units_already():
    module = ready(Diabetes, standardize_targets=False)
    assert torch.equal(module.in_original_units(module.test[1]), module.test[1])
    assert module.test[1].max() > 200


def test_least_squares_predicts_what_it_predicts_from_scikit_learns_table():
    x, y = original(Diabetes)
    module = ready(Diabetes)
    train, test = module.indices.train, module.indices.test
    expected = LinearRegression().fit(x[train], y[train]).predict(x[test])
    ours = LinearRegression().fit(module.train[0].double(), module.train[1].double())
    predicted = module.in_original_units(torch.from_numpy(ours.predict(module.test[0].double())))
    # Of targets about 150; the inputs are single precision.
    np.testing.assert_allclose(predicted[:, 0], expected, atol=1e-3)


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (Iris, {"num_train": 91}, r"num_train \+ num_val \+ num_test must be <= 150, the samples there are, not 151"),
        (Wine, {"num_test": 36}, r"num_train \+ num_val \+ num_test must be <= 178, the samples there are, not 179"),
        (BreastCancer, {"num_val": 0}, "num_val must be >= 1, not 0"),
        (Iris, {"num_train": 2, "batch_size": 2}, "num_train must be >= 3, the number of classes of Iris, not 2"),
        (Diabetes, {"stratify": True}, "stratify needs one label a sample, which Diabetes does not have"),
        (Diabetes, {"label_noise": 0.2}, "label_noise needs one label a sample, which Diabetes does not have"),
        (
            CaliforniaHousing,
            {"num_test": 4_641},
            r"num_train \+ num_val \+ num_test must be <= 20640, the samples there are, not 20641",
        ),
    ],
)
def test_bad_input_is_one_clear_line(kind, arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        ready(kind, **arguments)


# California housing ---------------------------------------------------------------------------------------------------
