"""GradientFlow against gradients taken by hand: layer by layer, per sample, before clipping, on recorded steps only."""

from __future__ import annotations

import copy
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from heard import at_step, rows_of
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from experiments.core.callbacks import GradientClipping, GradientFlow
from experiments.core.callbacks.gradient_flow import DECADES, count_decades
from lightning_modules import Convolutional

# Sums in another order than the instrument's.
CLOSE = {"rel": 1e-10}
G = {"identity": lambda a: a, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu}


def normalized(layer, z: Tensor) -> Tensor:
    """BatchNorm in training and LayerNorm, from their formulas."""
    if isinstance(layer.normalization, torch.nn.BatchNorm1d):
        mean, variance = z.mean(0), z.var(0, correction=0)
    elif isinstance(layer.normalization, torch.nn.LayerNorm):
        mean, variance = z.mean(1, keepdim=True), z.var(1, correction=0, keepdim=True)
    else:
        return z
    return (z - mean) / (variance + 1e-5).sqrt() * layer.normalization.weight + layer.normalization.bias


def by_hand(module, x: Tensor, y: Tensor) -> dict[str, float]:
    """What GradientFlow must record for one batch, from a forward pass written out."""
    g, z, pre_activations = G[module.hparams["activation"]], x, []
    for layer in module.network.hidden:
        a = normalized(layer, F.linear(z, layer.linear.weight, layer.linear.bias))
        pre_activations.append(a)
        z = z + g(a) if layer.residual else g(a)
    outputs = F.linear(z, module.network.output.weight, module.network.output.bias)
    weights = [layer.linear.weight for layer in module.network.hidden] + [module.network.output.weight]
    # The gradient of a sum of losses holds, row by row, that of each sample's loss.
    deltas = torch.autograd.grad(F.cross_entropy(outputs, y, reduction="sum"), pre_activations, retain_graph=True)
    gradients = torch.autograd.grad(F.cross_entropy(outputs, y), weights)
    names = [f"layer_{k:02d}" for k in range(1, len(deltas) + 1)]
    return {
        **{f"gradient/delta_a/{n}": float((d**2).mean().sqrt()) for n, d in zip(names, deltas, strict=True)},
        **{
            f"gradient/weight/{n}": float((w**2).mean().sqrt())
            for n, w in zip([*names, "output"], gradients, strict=True)
        },
    }


@pytest.mark.parametrize(
    "arguments",
    [
        {"activation": "identity"},
        {"activation": "sigmoid"},
        {"activation": "relu", "initialization": "he"},
        {"normalization": "batch"},
        {"normalization": "layer"},
        {"residual": True},
        {"residual": True, "normalization": "batch", "activation": "relu"},
        {"hidden": [7, 5, 4]},
        {"depth": 11},
        {"depth": 1},
    ],
    ids=str,
)
def test_gradients_are_those_of_autograd_by_hand(network, samples, train, arguments):
    module, data, flow = network(**arguments), samples(8), GradientFlow()
    expected = by_hand(copy.deepcopy(module), *data)
    trainer = train(module, data, flow)
    assert at_step(trainer, 0) == pytest.approx(expected, **CLOSE)


def test_delta_follows_the_back_propagation_formula(network, samples, train):
    """delta of a layer = (delta of the next × its weights) · σ'(a), from the softmax's p - y down."""
    module, (x, y), flow = network(activation="sigmoid"), samples(8), GradientFlow()
    twin = copy.deepcopy(module)
    z, outputs = [x], []
    for layer in twin.network.hidden:
        outputs.append(torch.sigmoid(layer.linear(z[-1])))
        z.append(outputs[-1])
    delta = torch.softmax(twin.network.output(z[-1]), 1) - F.one_hot(y, 3)
    above, expected = twin.network.output, {}
    for number in (3, 2, 1):
        s = outputs[number - 1]
        delta = (delta @ above.weight) * s * (1 - s)
        above = twin.network.hidden[number - 1].linear
        expected[f"gradient/delta_a/layer_{number:02d}"] = (delta**2).mean().sqrt().item()
    trainer = train(module, (x, y), flow)
    found = at_step(trainer, 0)
    assert {name: found[name] for name in expected} == pytest.approx(expected, **CLOSE)


@pytest.mark.parametrize("first", ["clipping", "flow"])
def test_clipping_does_not_touch_what_is_recorded(network, samples, train, first):
    module, data = network(), samples(8)
    expected = by_hand(copy.deepcopy(module), *data)
    flow, clipping = GradientFlow(), GradientClipping(max_norm=1e-6)
    trainer = train(module, data, *([clipping, flow] if first == "clipping" else [flow, clipping]))
    assert {name: value for name, value in at_step(trainer, 0).items() if "/norm_" not in name} == pytest.approx(
        expected, **CLOSE
    )


def test_the_size_of_the_batch_does_not_matter(network, samples, train):
    """Four copies of every sample: the mean loss's gradient is a quarter a sample, delta_a is not."""
    x, y = samples(2)
    one = train(network(), (x, y), GradientFlow())
    four = train(network(), (x.repeat(4, 1), y.repeat(4)), GradientFlow())
    assert at_step(one, 0) == pytest.approx(at_step(four, 0), **CLOSE)


def test_under_accumulation_one_record_a_step(network, samples, train):
    """delta_a is that of the step's last batch; the weights' gradient is of the mean over both batches."""
    module, (x, y), flow = network(), samples(32), GradientFlow(every_n_steps=1)
    twin = copy.deepcopy(module)
    deltas, weights = by_hand(twin, x[8:16], y[8:16]), by_hand(twin, x[:16], y[:16])
    trainer = train(module, (x, y), flow, accumulate_grad_batches=2)
    rows = rows_of(trainer)
    assert sorted({row.step for row in rows}) == [0, 1]
    assert len(rows) == 2 * len(weights)
    expected = {n: deltas[n] if "delta" in n else weights[n] for n in weights}
    assert {row.name: row.value for row in rows if row.step == 0} == pytest.approx(expected, **CLOSE)


class HookCount(lightning.Callback):
    """Notes, in each backward pass, whether the activation modules carry hooks."""

    def __init__(self) -> None:
        self.steps: dict[int, int] = {}

    def on_before_backward(self, trainer, pl_module, loss):
        modules = [module for name, module in pl_module.named_modules() if name.endswith("activation")]
        self.steps[trainer.global_step] = sum(len(module._forward_pre_hooks) for module in modules)


def test_hooks_exist_on_recorded_steps_only(network, samples, train):
    module, flow, count = network(), GradientFlow(every_n_steps=4), HookCount()
    trainer = train(module, samples(80), flow, count)
    assert count.steps == {step: 3 if step % 4 == 0 else 0 for step in range(10)}
    assert sorted({row.step for row in rows_of(trainer)}) == [0, 4, 8]


def test_vanished_gradients_do_not_underflow(network, samples, train):
    """A delta of 1e-25 is a float32, its square is not."""
    module = network(activation="identity", depth=2).float()
    with torch.no_grad():
        module.network.output.weight.mul_(1e-25)
    x, y = samples(8)
    flow = GradientFlow()
    trainer = train(module, (x.float(), y), flow)
    assert 1e-27 < at_step(trainer, 0)["gradient/delta_a/layer_01"] < 1e-24


def test_histograms_hold_every_delta_of_every_fifth_epoch(network, samples, train, tmp_path: Path):
    logger = TensorBoardLogger(tmp_path, name="", version="")
    train(network(), samples(8), GradientFlow(histogram_every_n_epochs=5), logger=logger, max_epochs=11)
    events = EventAccumulator(str(tmp_path), size_guidance={"histograms": 0}).Reload()
    tags = [f"gradient/log10_delta_a/layer_{k:02d}" for k in (1, 2, 3)]
    assert sorted(events.Tags()["histograms"]) == tags
    first = events.Histograms(tags[0])
    assert [event.step for event in first] == [0, 10]  # epoch 5 holds no recorded step
    assert first[0].histogram_value.num == 8 * 5


def test_histograms_are_those_of_numpy():
    values = 10 ** torch.linspace(-40, 12, 600, dtype=torch.float64).reshape(2, 10, 30)
    values[0, 0, :3] = torch.tensor([0.0, torch.inf, torch.nan])
    values[1] *= -1
    for counts, own in zip(count_decades(values), values, strict=True):
        logarithms = own[own.isfinite() & (own != 0)].abs().log10()
        truth, _ = np.histogram(logarithms, bins=DECADES.numpy())
        np.testing.assert_array_equal(counts, truth)


def test_weight_gradients_of_convolutions_are_recorded(samples, train):
    x, y = samples(8)
    module = Convolutional(
        sample_shape=(1, 2, 3), num_classes=3, channels=[2, 4], pooling="none", seed=0, lr=0.1
    ).double()
    images, before, flow = x.reshape(-1, 1, 2, 3), copy.deepcopy(module), GradientFlow(every_n_steps=1)
    trainer = train(module, (images, y), flow, max_steps=1)
    weights = [parameter for name, parameter in before.named_parameters() if name.endswith("weight")]
    gradients = torch.autograd.grad(F.cross_entropy(before(images), y), weights)
    shown = at_step(trainer, 0)
    assert len(weights) == 3
    for name, gradient in zip(("layer_01", "layer_02", "output"), gradients, strict=True):
        assert shown[f"gradient/weight/{name}"] == pytest.approx(float(gradient.square().mean().sqrt()), **CLOSE)


def test_a_network_without_activations_is_refused(samples, train):
    class Linear(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(6, 3, dtype=torch.float64)

        def training_step(self, batch, batch_idx):
            return F.cross_entropy(self.layer(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    with pytest.raises(ValueError, match="Linear has no activation module"):
        train(Linear(), samples(8), GradientFlow())


@pytest.mark.parametrize("arguments", [{"every_n_steps": 0}, {"histogram_every_n_epochs": 0}])
def test_bad_arguments(arguments):
    with pytest.raises(ValueError, match=f"{next(iter(arguments))} must be at least 1; it is 0"):
        GradientFlow(**arguments)
