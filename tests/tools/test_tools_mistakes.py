"""The callbacks and the data module of the lesson do what they are called, and nothing else."""

from __future__ import annotations

from pathlib import Path

import lightning
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from experiments.core.grid.conditions import Condition
from experiments.core.grid.runs import Run
from experiments.tools import measures
from experiments.tools.mistakes import Interruption, KeptGradients, OrderedDigits, RectifiedLogits
from lightning_modules import FullyConnected

FEATURES, CLASSES = 6, 3


def network(**training: object) -> FullyConnected:
    settings = {"optimizer": "sgd", "lr": 0.1, "seed": 0, **training}
    return FullyConnected(
        num_features=FEATURES, num_classes=CLASSES, hidden=[5], activation="tanh", **settings
    ).double()


def samples() -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    return torch.randn(24, FEATURES, generator=g, dtype=torch.float64), torch.randint(CLASSES, (24,), generator=g)


def fit(module: FullyConnected, directory: Path, *callbacks: lightning.Callback, epochs: int = 1) -> None:
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        default_root_dir=directory,
    )
    trainer.fit(module, DataLoader(TensorDataset(*samples()), batch_size=8))


def by_hand(reset: bool) -> list[Tensor]:
    """Three steps of plain gradient descent, with and without a reset of the gradients."""
    module = network()
    x, y = samples()
    sums = [torch.zeros_like(parameter) for parameter in module.parameters()]
    for first in range(0, 24, 8):
        loss = torch.nn.functional.cross_entropy(module(x[first : first + 8]), y[first : first + 8])
        gradients = torch.autograd.grad(loss, list(module.parameters()))
        sums = list(gradients) if reset else [s + g for s, g in zip(sums, gradients, strict=True)]
        with torch.no_grad():
            for parameter, gradient in zip(module.parameters(), sums, strict=True):
                parameter -= 0.1 * gradient
    return [parameter.detach() for parameter in module.parameters()]


@pytest.mark.parametrize("reset", [True, False])
def test_without_a_reset_each_step_is_on_the_sum_of_all_gradients(reset: bool, tmp_path: Path) -> None:
    module = network()
    fit(module, tmp_path, *([] if reset else [KeptGradients()]))
    for parameter, expected in zip(module.parameters(), by_hand(reset), strict=True):
        torch.testing.assert_close(parameter.detach(), expected, atol=1e-14, rtol=0)


def test_rectified_logits_are_the_networks_outputs_above_zero(tmp_path: Path) -> None:
    plain, module = network(), network()
    fit(module, tmp_path, RectifiedLogits())
    plain.load_state_dict(module.state_dict())
    x, _ = samples()
    assert (plain(x) < 0).any()
    torch.testing.assert_close(module(x), plain(x).relu(), atol=0, rtol=0)


def as_run(module: FullyConnected, directory: Path) -> Run:
    path = directory / measures.CHECKPOINT
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"state_dict": module.state_dict(), "hyper_parameters": {}, "pytorch-lightning_version": "2.6.6"}
    torch.save(content, path)
    return Run(Condition(()), 1000, directory, {}, {"status": "ok", "measures": {"train/loss": 0.01}})


def test_only_the_optimisers_state_brings_back_the_uninterrupted_run(tmp_path: Path) -> None:
    runs = {}
    for name, callbacks in {
        "straight": [],
        "whole": [Interruption(epoch=1, optimizer_state=True)],
        "weights": [Interruption(epoch=1, optimizer_state=False)],
    }.items():
        module = network(optimizer="adam", lr=0.01)
        fit(module, tmp_path / name, *callbacks, epochs=2)
        runs[name] = as_run(module, tmp_path / name)
    straight = (runs["straight"], 0.0)
    assert measures.weight_difference([straight, (runs["whole"], 0.0)]) == 0.0
    assert measures.weight_difference([straight, (runs["weights"], 0.0)]) > 1e-3
    # The file was needed: without what is read back, the weights would be other ones altogether.
    assert (tmp_path / "whole" / "checkpoints" / "interrupted.ckpt").is_file()


def test_an_interruption_loses_the_weights_that_are_not_read_back(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(FullyConnected, "load_state_dict", lambda *_: None)
    module = network()
    fit(module, tmp_path, Interruption(epoch=1, optimizer_state=True), epochs=2)
    straight = network()
    fit(straight, tmp_path, epochs=2)
    apart = [
        float((a - b).detach().abs().max()) for a, b in zip(module.parameters(), straight.parameters(), strict=True)
    ]
    assert min(apart) > 0.1


def test_an_interruption_before_the_first_epoch_is_refused() -> None:
    with pytest.raises(ValueError, match="epoch must be at least 1"):
        Interruption(epoch=0, optimizer_state=True)


def test_measures_of_a_run(tmp_path: Path) -> None:
    module = network()
    run = as_run(module, tmp_path)
    flat = torch.cat([parameter.flatten() for parameter in module.parameters()])
    assert measures.weight_norm(run) == pytest.approx(float(flat.detach().norm()), rel=1e-12)
    assert measures.loss_decades(run) == pytest.approx(-2)
    with torch.no_grad():
        module.network.output.bias[1] += 0.25
    assert measures.weight_difference([(run, 0.0), (as_run(module, tmp_path / "other"), 0.0)]) == pytest.approx(0.25)


def labels(data: OrderedDigits, epoch: int) -> Tensor:
    loader = data.train_dataloader()
    loader.order.set_epoch(epoch)
    return torch.cat([y for _, y in loader])


def test_digits_by_class_are_the_same_samples_sorted() -> None:
    shuffled, by_class = (OrderedDigits(batch_size=64, seed=0, order=order) for order in ("shuffled", "by_class"))
    shuffled.setup()
    by_class.setup()
    first, second = labels(by_class, 0), labels(by_class, 1)
    assert first.tolist() == sorted(first.tolist()) == second.tolist()
    assert labels(shuffled, 0).tolist() != labels(shuffled, 1).tolist()
    assert sorted(labels(shuffled, 0).tolist()) == first.tolist()
    rows = {tuple(row) for row in shuffled.train[0].flatten(1).tolist()}
    assert {tuple(row) for row in by_class.train[0].flatten(1).tolist()} == rows
    # A sample keeps its label.
    pairs = dict(zip(map(tuple, shuffled.train[0].flatten(1).tolist()), shuffled.train[1].tolist(), strict=True))
    for x, y in zip(by_class.train[0].flatten(1).tolist(), by_class.train[1].tolist(), strict=True):
        assert pairs[tuple(x)] == y
