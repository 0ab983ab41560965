"""ActivationStatistics against the same numbers taken from a forward pass by hand."""

from __future__ import annotations

import copy
import math

import lightning
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from heard import at_step, rows_of
from torch import Tensor

from experiments.core.callbacks import ActivationStatistics
from experiments.core.callbacks.activation_statistics import HISTOGRAM_EDGES, histogram_shares
from experiments.vanishing.callbacks import GradientBySaturation

CLOSE = {"rel": 1e-10}


def pre_activations(module, x: Tensor, g) -> list[Tensor]:
    z, found = x, []
    for layer in module.network.hidden:
        found.append(layer.linear(z).detach())
        z = g(found[-1])
    return found


@pytest.mark.parametrize(
    ("activation", "g", "limit"), [("sigmoid", torch.sigmoid, 4.0), ("tanh", torch.tanh, 2.0), ("relu", F.relu, None)]
)
def test_mean_std_and_saturated_share(network, samples, train, activation, g, limit):
    module, (x, y), statistics = network(activation=activation, gain=6.0), samples(8), ActivationStatistics()
    expected = {}
    for number, a in enumerate(pre_activations(copy.deepcopy(module), x, g), start=1):
        values = a.numpy().ravel()
        expected[f"activation/mean/layer_{number:02d}"] = values.mean()
        expected[f"activation/std/layer_{number:02d}"] = math.sqrt(((values - values.mean()) ** 2).mean())
        if limit:
            expected[f"activation/saturated/layer_{number:02d}"] = (np.abs(values) > limit).mean()
    trainer = train(module, (x, y), statistics)
    found = {n: v for n, v in at_step(trainer, 0).items() if "histogram" not in n}
    assert found == pytest.approx(expected, **CLOSE)
    assert not limit or 0 < found["activation/saturated/layer_01"] < 1


def test_statistics_come_on_recorded_steps_only_and_the_histogram_at_step_0_only(network, samples, train):
    statistics = ActivationStatistics(every_n_steps=4)
    trainer = train(network(), samples(80), statistics)
    rows = rows_of(trainer)
    assert {row.step for row in rows} == {0, 4, 8}
    assert {row.step for row in rows if "histogram" in row.name} == {0}


def test_histogram_holds_every_hidden_pre_activation(network, samples, train):
    module, (x, y), statistics = network(gain=20.0), samples(8), ActivationStatistics()
    values = torch.cat([a.flatten() for a in pre_activations(copy.deepcopy(module), x, torch.tanh)]).numpy()
    trainer = train(module, (x, y), statistics)
    shares = [v for n, v in sorted(at_step(trainer, 0).items()) if "histogram" in n]
    inside, _ = np.histogram(np.clip(values, -7.99, 7.99), bins=np.arange(-8, 8.5, 0.5))
    assert (np.abs(values) > 8).any()
    assert shares == pytest.approx(inside / values.size, abs=1e-7)  # counted in float32
    assert sum(shares) == pytest.approx(1, abs=1e-6)


def test_histogram_edges_are_half_units():
    assert HISTOGRAM_EDGES.tolist() == [k / 2 - 8 for k in range(33)]
    shares = histogram_shares(torch.tensor([[-100.0, -7.9, 0.1, 7.9], [0.1, 0.2, 0.3, -0.1]]))
    assert shares.tolist() == [[0.5, *[0] * 15, 0.25, *[0] * 14, 0.25], [*[0] * 15, 0.25, 0.75, *[0] * 15]]


def kill_units(module, layer: int, units: int) -> None:
    with torch.no_grad():
        module.network.hidden[layer].linear.bias[:units] = -1e3


def test_dead_units_are_those_no_validation_sample_activates(network, samples, train):
    module, statistics = network(activation="relu", initialization="he", lr=1e-9), ActivationStatistics()
    kill_units(module, layer=0, units=2)
    x, y = samples(24, seed=1)
    a = pre_activations(copy.deepcopy(module), x, F.relu)
    expected = {f"activation/dead/layer_{k:02d}": 1 - (v > 0).any(0).double().mean().item() for k, v in enumerate(a, 1)}
    trainer = train(module, samples(8), statistics, validation=(x, y))
    found = {row.name: row.value for row in rows_of(trainer) if "dead" in row.name}
    assert found == pytest.approx(expected, **CLOSE)
    assert expected["activation/dead/layer_01"] >= 0.4


def test_a_unit_active_in_one_batch_of_many_lives(network, samples, train):
    """The first unit answers to one sample of the second of three validation batches only."""
    module, statistics = network(depth=1, activation="relu", lr=1e-9), ActivationStatistics()
    x, y = samples(24, seed=1)
    x[:, 0] = -1.0
    x[12, 0] = 1.0
    with torch.no_grad():
        module.network.hidden[0].linear.weight[0] = torch.tensor([1.0, 0, 0, 0, 0, 0])
        module.network.hidden[0].linear.weight[1:] = 0
        module.network.hidden[0].linear.bias[:] = torch.tensor([0.0, 1, 1, 1, -1])
    trainer = train(module, samples(8), statistics, validation=(x, y))
    assert [row.value for row in rows_of(trainer) if "dead" in row.name] == pytest.approx([0.2], **CLOSE)


def test_dead_units_exist_for_relu_only(network, samples, train):
    statistics = ActivationStatistics()
    trainer = train(network(activation="sigmoid"), samples(8), statistics, validation=samples(8))
    assert not [row for row in rows_of(trainer) if "dead" in row.name]


class HooksAfter(lightning.Callback):
    """Sees that no hook outlives the pass it watches."""

    def check(self, trainer, pl_module, *rest):
        assert not any(module._forward_pre_hooks for module in pl_module.modules())

    on_train_batch_end = on_validation_end = on_train_end = check


@pytest.mark.parametrize("kind", [ActivationStatistics, GradientBySaturation])
def test_no_hook_is_left(network, samples, train, kind):
    train(network(activation="relu"), samples(24), kind(1), HooksAfter(), validation=samples(16))
