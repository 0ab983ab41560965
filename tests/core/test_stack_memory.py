"""A stack holds one copy of a large data set, and is no larger than memory allows."""

from __future__ import annotations

import pytest
import torch
from one_fit import resolve, run_seed, run_stack

from datamodules import Digits, FashionMNIST
from datamodules.stack import StackedData
from experiments.core.execution import memory
from experiments.core.files import run_directory
from experiments.core.training import cli, fit, stacking

SEEDS = (1000, 1001, 1002, 1003)
CONFIG = """
seed_everything: 1000
model: {class_path: FullyConnected, init_args: {depth: 2, width: 8, lr: 0.1, dropout: 0.2}}
data: {class_path: Digits, init_args: {batch_size: 32, num_train: 200, num_val: 100, num_test: 100}}
trainer: {max_epochs: 2, logger: false}
"""


@pytest.fixture
def config(here):
    (here / "base.yaml").write_text(CONFIG)
    return [f"--config={here / 'base.yaml'}"]


@pytest.mark.usefixtures("fashion_mnist")
@pytest.mark.parametrize(
    "options",
    [{}, {"standardize": False}, {"duplicates": 1, "label_noise": 0.3}, {"stratify": True}],
    ids=["plain", "not scaled", "repeated", "stratified"],
)
@pytest.mark.parametrize(("kind", "more"), [(Digits, {}), (FashionMNIST, {"size": 14}), (FashionMNIST, {})])
def test_one_source_gives_the_batches_of_samples_that_are_held(kind, more, options):
    def stacked(**how):
        sizes = {"batch_size": 32, "num_train": 100, "num_val": 50, "num_test": 50}
        parts = [kind(**sizes, seed=seed, **more, **options, **how) for seed in SEEDS]
        for part in parts:
            part.setup()
        loader = StackedData(parts).train_dataloader()
        loader.order.set_epoch(1)
        return loader

    held, shared = stacked(), stacked(in_memory=False, workers=0)
    assert held.samples.shared is None
    assert shared.samples.shared is not None
    for one, other in zip(held, shared, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("options", [{"permute": True}, {"augmentation": ["shift"]}])
def test_what_changes_a_sample_by_its_seed_is_made_seed_by_seed(options):
    part = Digits(batch_size=8, num_train=50, num_val=20, num_test=20, seed=0, in_memory=False, workers=0, **options)
    part.setup()
    assert part.scaled_inputs is None


def test_a_stack_of_one_source_leaves_what_any_stack_leaves(here, config, monkeypatch):
    held, shared = ([here / kind / f"seed={seed}" for seed in SEEDS] for kind in ("held", "shared"))
    assert run_stack(config, SEEDS, held) == ""
    monkeypatch.setattr(stacking, "LARGE", 0)
    made = []
    monkeypatch.setattr(cli, "shares_inputs", lambda *given: made.append(stacking.shares_inputs(*given)) or made[-1])
    assert run_stack(config, SEEDS, shared) == ""
    assert made == [True]
    for one, other in zip(held, shared, strict=True):
        for name in (run_directory.METRICS, run_directory.CONFIG):
            assert (one / name).read_bytes() == (other / name).read_bytes()


@pytest.mark.parametrize("most", [1, 2, 3])
def test_seeds_that_need_more_memory_than_there_is_are_trained_in_several_fits(here, config, monkeypatch, most):
    alone, parts = ([here / kind / f"seed={seed}" for seed in SEEDS] for kind in ("alone", "parts"))
    for seed, directory in zip(SEEDS, alone, strict=True):
        run_seed(config, seed, directory)
    monkeypatch.setattr(fit, "seeds_that_fit", lambda *_: most)
    assert fit.fit_seeds(resolve(config), SEEDS, parts, budget=1.0) == ""
    results = [run_directory.read_result(directory) for directory in parts]
    assert [result["stack"] for result in results] == {1: [1, 1, 1, 1], 2: [2, 2, 2, 2], 3: [3, 3, 3, 1]}[most]
    for result, directory in zip(results, alone, strict=True):
        expected = run_directory.read_result(directory)["measures"]
        assert result["measures"] == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.usefixtures("fashion_mnist")
def test_what_a_seed_takes_is_known_before(here, config):
    def bytes_per_seed(*options, seeds=10):
        built = fit.build_fit(resolve([*config, *options]), 1000, here / "run")
        return stacking.bytes_per_seed(built.model, built.datamodule, seeds)

    samples = (200 + 100 + 100) * (64 * 4 + 8)
    weights = 5 * 4 * (64 * 8 + 8 + 8 * 8 + 8 + 8 * 10 + 10)
    least = samples + weights + 1024 * 4 * (64 + 8 + 8)
    assert least <= bytes_per_seed() <= 2 * least
    # Half of the samples are held no more.
    large = ["--data.class_path=FashionMNIST", "--data.size=28", "--data.batch_size=32", "--data.num_train=9000"]
    large += ["--data.num_val=100", "--data.num_test=100"]
    pixels = 9000 * 28 * 28 * 4
    assert bytes_per_seed(*large, seeds=2) - bytes_per_seed(*large, seeds=10) == pixels
    # A network whose batches are larger than its samples.
    wide = ["--model=Convolutional", "--model.lr=0.1", "--model.dropout=0", "--model.channels=[8]"]
    assert bytes_per_seed(*wide) > least + 1024 * 8 * 8 * 8 * 4


@pytest.mark.parametrize(
    ("budget", "expected"), [(0, 1), (1, 1), (3.5, 1), (4.5, 2), (12, 10), (100, 10), (float("inf"), 10)]
)
def test_a_stack_has_as_many_seeds_as_fit_beside_what_building_one_takes(monkeypatch, budget, expected):
    monkeypatch.setattr(stacking, "bytes_per_seed", lambda *_: 1.0)
    assert stacking.seeds_that_fit(None, None, budget, 10) == expected


def test_no_more_is_available_than_the_machine_or_its_container_has(tmp_path, monkeypatch):
    assert 0 < memory.available() < 2**50
    (tmp_path / "memory.max").write_text(f"{3 * 2**20}\n")
    (tmp_path / "memory.current").write_text(f"{2**20}\n")
    monkeypatch.setattr(memory, "GROUPS", tmp_path)
    assert memory.available() == 2**21
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available() > 2**21


def test_data_of_other_projects_are_not_stacked(here, config):
    built = fit.build_fit(resolve(config), 1000, here / "run")
    built.datamodule = None
    with pytest.raises(cli.NotStackableError, match="NoneType is no InMemoryDataModule"):
        built.stack(SEEDS, [here / str(seed) for seed in SEEDS])
