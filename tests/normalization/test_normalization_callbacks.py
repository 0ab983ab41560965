"""Landscape and TrainEvalGap against closed forms, and against networks evaluated by hand."""

from __future__ import annotations

import copy

import lightning
import pytest
import torch
import torch.nn.functional as F
from heard import at_step, rows_of
from torch import Tensor

from experiments.core.callbacks import ActivationStatistics, GradientFlow
from experiments.normalization.callbacks import Landscape, TrainEvalGap
from lightning_modules import FullyConnected, LinearModel

CLOSE = {"rel": 1e-9, "abs": 1e-12}


class Draws(lightning.Callback):
    """Draws from the global generator at every step, as anything may do, and keeps the weights after it."""

    def __init__(self) -> None:
        self.numbers: list[float] = []
        self.states: list[dict[str, Tensor]] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.numbers.append(float(torch.rand(())))
        self.states.append({k: v.clone() for k, v in pl_module.state_dict().items()})


def test_on_a_quadratic_all_is_known(train):
    """The mean squared error of a linear map with the gradient g = H w + c: at w - m·lr·g the gradient is g - m·lr·H g,
    and the loss L - m·lr·|g|² + (m·lr)²/2 · gᵀHg."""
    g = torch.Generator().manual_seed(1)
    x = torch.randn(8, 3, generator=g, dtype=torch.float64)
    y = torch.randn(8, 1, generator=g, dtype=torch.float64)
    module = LinearModel(num_features=3, num_classes=1, loss="mse", optimizer="sgd", lr=0.07, seed=0).double()
    inputs = torch.cat([x, torch.ones(8, 1, dtype=torch.float64)], dim=1)
    (layer,) = (m for m in module.network.modules() if isinstance(m, torch.nn.Linear))
    w = torch.cat([layer.weight[0], layer.bias]).detach()
    residual = inputs @ w - y[:, 0]
    hessian, slope, loss = 2 * inputs.T @ inputs / 8, 2 * inputs.T @ residual / 8, residual.square().mean()
    moves = [0.5, 1.0, 3.0]
    trainer = train(module, (x, y), Landscape(every_n_steps=1, moves=moves))
    lengths = [0.07 * move for move in moves]
    losses = [loss - s * slope @ slope + s**2 / 2 * slope @ hessian @ slope for s in lengths]
    change = (hessian @ slope).norm() / slope.norm()
    found = at_step(trainer, 0)
    assert found.pop("landscape/loss") == pytest.approx(float(loss), **CLOSE)
    every = torch.stack([loss, *losses])
    assert found.pop("landscape/loss_range") == pytest.approx(float(every.max() - every.min()), **CLOSE)
    assert found.pop("landscape/gradient_norm") == pytest.approx(float(slope.norm()), **CLOSE)
    expected = {f"landscape/gradient_change/{m:g}": float(s * change) for m, s in zip(moves, lengths, strict=True)}
    assert found == pytest.approx(expected, **CLOSE)


def test_one_move_ends_where_a_plain_step_does(network, samples, train):
    """Move 1 of plain SGD is the step that training takes: same batch, same gradient, same rate."""
    module, (x, y) = network(normalization="batch", lr=0.3), samples(8)
    before, after = copy.deepcopy(module).train(), module
    trainer = train(module, (x, y), Landscape(1, moves=[1.0]))
    after.train()
    gradients = []
    for network_there in (before, after):
        loss = F.cross_entropy(network_there(x), y)
        gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(network_there.parameters()))]))
    expected = float((gradients[1] - gradients[0]).norm() / gradients[0].norm())
    assert at_step(trainer, 0)["landscape/gradient_change/1"] == pytest.approx(expected, **CLOSE)


def test_the_rate_is_that_of_the_schedule(network, samples, train):
    """Without a change of the weights (lr → 0) nothing changes; a linear schedule is at its start at step 0."""
    results = []
    for lr in (0.2, 0.1):
        landscape = Landscape(1, moves=[1.0 if lr == 0.2 else 2.0])
        trainer = train(network(lr=lr, schedule="linear"), samples(8), landscape)
        results.append(list(at_step(trainer, 0).values()))
    assert results[0] == pytest.approx(results[1], **CLOSE)
    later = train(network(lr=1e-12, schedule="linear"), samples(16), Landscape(1, moves=[1.0]))
    first = train(network(lr=1e-12), samples(16), Landscape(1, moves=[1.0]))
    half = at_step(later, 1)["landscape/gradient_change/1"]
    assert half == pytest.approx(at_step(first, 1)["landscape/gradient_change/1"] / 2, rel=0.05)


def test_accumulated_batches_leave_one_record_a_step(network, samples, train):
    rows = rows_of(train(network(), samples(32), Landscape(1, moves=[1.0]), accumulate_grad_batches=2))
    assert sorted({row.step for row in rows}) == [0, 1]
    assert len(rows) == 2 * 4


def test_records_on_due_steps_only(network, samples, train):
    rows = rows_of(train(network(), samples(80), Landscape(4), TrainEvalGap(3)))
    assert sorted({row.step for row in rows if row.name.startswith("landscape/")}) == [0, 4, 8]
    assert sorted({row.step for row in rows if row.name.startswith("modes/")}) == [0, 3, 6, 9]


STRICT = {"activation": "relu", "dropout": 0.4, "normalization": "batch"}


@pytest.mark.parametrize("make", [lambda: Landscape(1), lambda: TrainEvalGap(1)], ids=["Landscape", "TrainEvalGap"])
def test_weights_buffers_and_random_numbers_are_untouched(network, samples, train, make):
    watched = []
    for callbacks in ([], [make()]):
        draws = Draws()
        torch.manual_seed(5)
        module = network(**STRICT)
        train(module, samples(80), *callbacks, draws)
        assert module.training
        watched.append(draws)
    assert watched[0].numbers == watched[1].numbers
    for plain, measured in zip(watched[0].states, watched[1].states, strict=True):
        assert any("running_mean" in name for name in plain)
        assert all(torch.equal(plain[name], measured[name]) for name in plain)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("other", [lambda: GradientFlow(1), lambda: ActivationStatistics(1)])
def test_other_instruments_see_the_training_and_not_the_looking(network, samples, train, other, first):
    lookers = [Landscape(1), TrainEvalGap(1)]
    alone = train(network(normalization="batch"), samples(24), other())
    beside = train(
        network(normalization="batch"), samples(24), *([*lookers, other()] if first else [other(), *lookers])
    )
    looked = ("landscape/", "modes/")
    assert rows_of(alone) == [row for row in rows_of(beside) if not row.name.startswith(looked)]


def test_all_moves_see_the_same_dropout_masks(network, samples, train):
    """With masks of their own, a move of almost no length would change the gradient."""
    trainer = train(network(dropout=0.5, activation="relu", hidden=[50]), samples(8), Landscape(1, moves=[1e-9]))
    assert at_step(trainer, 0)["landscape/gradient_change/1e-09"] < 1e-6


def test_the_modes_differ_by_the_formula_of_batch_normalisation(network, samples, train):
    """One layer, whose running averages are at their start, 0 and 1, before the first step."""
    module, (x, y) = network(depth=1, normalization="batch", activation="identity"), samples(8)
    layer, output = module.network.hidden[0], module.network.output
    a = layer.linear(x).detach()
    normal = (a - a.mean(0)) / (a.var(0, correction=0) + 1e-5).sqrt()
    training, evaluation = (output(z).detach() for z in (normal, a / (1 + 1e-5) ** 0.5))
    expected = {
        "modes/changed": float((training.argmax(1) != evaluation.argmax(1)).double().mean()),
        "modes/output_change": float((evaluation - training).norm() / evaluation.norm()),
        "modes/loss_gap": float(F.cross_entropy(evaluation, y) - F.cross_entropy(training, y)),
    }
    assert expected["modes/changed"] > 0
    assert at_step(train(module, (x, y), TrainEvalGap(1)), 0) == pytest.approx(expected, **CLOSE)


@pytest.mark.parametrize("normalization", ["none", "layer"])
def test_without_batch_statistics_the_modes_agree(network, samples, train, normalization):
    trainer = train(network(normalization=normalization), samples(16), TrainEvalGap(1))
    assert {row.value for row in rows_of(trainer)} == {0.0}


def test_frozen_modules_stay_frozen(network, samples, train):
    class Frozen(FullyConnected):
        def on_train_epoch_start(self) -> None:
            self.network.hidden[0].normalization.eval()

    module = Frozen(
        num_features=6, num_classes=3, depth=2, width=5, normalization="batch", optimizer="sgd", lr=0.1, seed=0
    ).double()
    train(module, samples(24), TrainEvalGap(1))
    assert not module.network.hidden[0].normalization.training
    assert module.network.hidden[1].normalization.training
    assert module.network.hidden[0].normalization.num_batches_tracked == 0


@pytest.mark.parametrize("make", [Landscape, TrainEvalGap])
def test_a_module_without_inputs_and_targets_is_refused(samples, train, make):
    class Other(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(6, 3, dtype=torch.float64)

        def training_step(self, batch, batch_idx):
            return F.cross_entropy(self.layer(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    with pytest.raises(ValueError, match=f"{make.__name__} needs a network with inputs and targets, not Other"):
        train(Other(), samples(8), make())


@pytest.mark.parametrize("moves", [[], [0.0], [-1.0], [1.0, float("nan")], [float("inf")]])
def test_moves_out_of_range(moves):
    with pytest.raises(ValueError, match="moves must be positive numbers"):
        Landscape(moves=moves)
