"""Robustness against the closed form of a damaged network, TrainingTest and WeightStatistics against the weights."""

from __future__ import annotations

import copy

import lightning
import pytest
import torch
from experiments.core.callbacks.robustness import remove_units
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from datamodules import Digits
from datamodules.loader import generator
from experiments.core.callbacks import Robustness, TrainingTest, WeightStatistics
from experiments.core.callbacks.weight_statistics import HISTOGRAM_EDGES, magnitude_shares
from lightning_modules import FullyConnected

QUIET = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
CLOSE = {"rel": 1e-9, "abs": 1e-12}


def outcome_of(module, data, *callbacks, batch_size=24):
    trainer = lightning.Trainer(callbacks=list(callbacks), **QUIET)
    trainer.test(module, DataLoader(TensorDataset(*data), batch_size=batch_size), verbose=False)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def scores(outputs, targets):
    accuracy = (outputs.argmax(1) == targets).double().mean()
    return {"loss": F.cross_entropy(outputs, targets).item(), "accuracy": accuracy.item()}


def test_noise_of_the_seed_is_added_to_the_inputs(network, samples):
    module, (x, y) = network(seed=3), samples(24)
    found = outcome_of(module, (x, y), Robustness(noise=[0.5, 2]))
    noise = torch.randn(x.shape, generator=generator(3, "robustness/noise/0"), dtype=x.dtype)
    with torch.no_grad():
        for name, sigma in {"": 0.0, "/noise=0.5": 0.5, "/noise=2": 2.0}.items():
            for key, value in scores(module(x + sigma * noise), y).items():
                assert found[f"test/{key}{name}"] == pytest.approx(value, **CLOSE)
    assert found["test/loss/noise=2"] != found["test/loss/noise=0.5"] != found["test/loss"]


def test_without_any_unit_only_the_last_bias_speaks(network, samples):
    module, (x, y) = network(activation="relu"), samples(24)
    found = outcome_of(module, (x, y), Robustness(removed=[1]))
    bias = module.network.output.bias.detach()
    for key, value in scores(bias.expand(24, -1), y).items():
        assert found[f"test/{key}/removed=1"] == pytest.approx(value, **CLOSE)


def test_removed_units_are_those_of_a_network_without_them(network, samples):
    """Each sample against the network from which its silent units are cut out, weight by weight."""
    module, (x, _) = network(activation="sigmoid", depth=2, width=10), samples(24)
    outputs_of = {}

    def watch(k):
        def see(_module, _inputs, z):
            outputs_of[k] = z.detach()

        return module.network.hidden[k].activation.register_forward_hook(see)

    # What comes after the removal sees its result.
    handles = [*remove_units(module, 0.3, seed=5, batch_idx=0), watch(0), watch(1)]
    with torch.no_grad():
        damaged = module(x)
        for handle in handles:
            handle.remove()
        kept = [outputs_of[k] != 0 for k in range(2)]  # a sigmoid never gives 0 itself
        assert [set(layer.sum(1).tolist()) for layer in kept] == [{7}, {7}]
        assert len({tuple(row.tolist()) for row in kept[0]}) > 12
        first, second, output = module.network.hidden[0].linear, module.network.hidden[1].linear, module.network.output
        for i in range(24):
            one, two = kept[0][i], kept[1][i]
            z = torch.sigmoid(first.weight[one] @ x[i] + first.bias[one])
            z = torch.sigmoid(second.weight[two][:, one] @ z + second.bias[two])
            assert damaged[i] == pytest.approx(output.weight[:, two] @ z + output.bias, **CLOSE)
        assert not torch.allclose(damaged, module(x))


def silent(module, x, share, seed=0):
    seen = []

    def see(_module, _inputs, z):
        seen.append(z == 0)

    handles = remove_units(module, share, seed, 0)
    (layer,) = [m for m in module.modules() if isinstance(m, nn.Sigmoid)]
    handles.append(layer.register_forward_hook(see))
    with torch.no_grad():
        module(x)
    for handle in handles:
        handle.remove()
    return seen[0]


def test_a_larger_share_contains_the_smaller_and_networks_of_a_seed_lose_the_same(network, samples):
    (x, _), settings = samples(24), {"depth": 1, "width": 10, "activation": "sigmoid"}
    few, many = (silent(network(**settings), x, share) for share in (0.2, 0.6))
    assert (few & ~many).sum() == 0
    assert set(few.sum(1).tolist()) == {2}
    assert set(many.sum(1).tolist()) == {6}
    assert torch.equal(few, silent(network(**settings, gain=3.0), 2 * x, 0.2))
    assert not torch.equal(few, silent(network(**settings), x, 0.2, seed=1))


def test_several_batches_are_averaged_over_samples_and_draw_anew(network, samples):
    module, (x, y) = network(seed=3), samples(24)
    found = outcome_of(module, (x, y), Robustness(noise=[0.5]), batch_size=16)
    with torch.no_grad():
        parts = []
        for index, rows in enumerate((slice(0, 16), slice(16, 24))):
            draws = generator(3, f"robustness/noise/{index}")
            noise = torch.randn(x[rows].shape, generator=draws, dtype=x.dtype)
            parts.append(module(x[rows] + 0.5 * noise))
    for key, value in scores(torch.cat(parts), y).items():
        assert found[f"test/{key}/noise=0.5"] == pytest.approx(value, **CLOSE)


def test_the_plain_test_is_what_it_was_and_no_hook_is_left(network, samples):
    module, data = network(dropout=0.3), samples(24)
    before = copy.deepcopy(module.state_dict())
    torch.manual_seed(0)
    plain = outcome_of(module, data)
    state = torch.get_rng_state()
    torch.manual_seed(0)
    with_damage = outcome_of(module, data, Robustness(noise=[1.0], removed=[0.5]))
    assert {name: with_damage[name] for name in plain} == plain
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert not any(m._forward_hooks for m in module.modules())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "nothing to test with"),
        ({"noise": [0.0]}, "noise must list different numbers > 0"),
        ({"noise": [1.0, 1.0]}, "noise must list different numbers > 0"),
        ({"noise": [float("nan")]}, "noise must list different numbers > 0"),
        ({"removed": [1.5]}, "shares of at most 1"),
    ],
)
def test_bad_arguments_of_robustness(arguments, words):
    with pytest.raises(ValueError, match=words):
        Robustness(**arguments)


def test_a_module_without_hidden_units_is_refused(network, samples):
    class Other(lightning.LightningModule):
        pass

    with pytest.raises(ValueError, match="Robustness tests a LectureModule, not a Other"):
        Robustness(noise=[1.0]).setup(lightning.Trainer(**QUIET), Other(), "test")


def fitted(module, *callbacks, **data):
    datamodule = Digits(batch_size=50, seed=7, num_train=120, num_val=50, num_test=50, **data)
    trainer = lightning.Trainer(callbacks=list(callbacks), max_epochs=2, num_sanity_val_steps=0, **QUIET)
    trainer.fit(module, datamodule)
    return datamodule


def digits_network(**arguments):
    settings = {"hidden": [12], "activation": "relu", "optimizer": "adam", "lr": 0.01, "seed": 7}
    return FullyConnected(num_features=64, num_classes=10, **{**settings, **arguments})


def test_training_samples_are_evaluated_unchanged_without_dropout_and_with_the_labels_that_were_learnt():
    module, instrument = digits_network(dropout=0.5), TrainingTest()
    datamodule = fitted(module, instrument, augmentation=["shift"], label_noise=0.3)
    found = {row.name: row.value for row in instrument.drain()}
    x, y = datamodule.train
    with torch.no_grad():
        expected = scores(module.eval()(x), y)
    assert found == pytest.approx({f"training_test/{key}": value for key, value in expected.items()}, rel=1e-5)
    assert found["training_test/accuracy"] > 0


def test_weights_before_and_after_training():
    module, instrument = digits_network(l1=0.01), WeightStatistics()
    initial = torch.cat([p.detach().flatten() for n, p in module.named_parameters() if n.endswith("weight")])
    fitted(module, instrument)
    final = torch.cat([p.detach().flatten() for n, p in module.named_parameters() if n.endswith("weight")])
    rows = instrument.drain()
    for step, w in {0: initial, 6: final}.items():
        found = {row.name: row.value for row in rows if row.step == step}
        assert found["weight/norm"] == pytest.approx(w.double().square().sum().sqrt().item(), rel=1e-5)
        assert found["weight/sum"] == pytest.approx(w.double().abs().sum().item(), rel=1e-5)
        assert found["weight/negligible"] == pytest.approx((w.abs() < 1e-3).double().mean().item(), rel=1e-9)
        shares = [found[f"weight/histogram/bin_{index:02d}"] for index in range(32)]
        assert sum(shares) == pytest.approx(1, rel=1e-6)
        inside = ((w.abs() >= 0.1) & (w.abs() < 10**-0.75)).double().mean().item()
        assert shares[24] == pytest.approx(inside, abs=2 / len(w))
        assert HISTOGRAM_EDGES[24].item() == -1.0
    assert {row.step for row in rows} == {0, 6}
    assert final.norm() != initial.norm()


def test_magnitudes_outside_the_histogram_are_in_its_end_bins():
    shares = magnitude_shares(torch.tensor([0.0, -1e-9, 1e-7, -100.0, 0.2]))
    assert shares.tolist() == pytest.approx([0.6, *[0.0] * 24, 0.2, *[0.0] * 5, 0.2])


def test_histograms_are_in_our_files_and_not_on_a_dashboard(fit, base_yaml, here):
    more = here / "more.yaml"
    more.write_text("trainer: {callbacks+: [{class_path: WeightStatistics}]}")
    csv_logger = base_yaml.parents[1] / "core" / "configs" / "csv.yaml"
    run = fit("--config", base_yaml, "--config", csv_logger, "--config", more)
    ours = (run / "metrics.csv").read_text()
    (dashboard,) = run.glob("csv/**/metrics.csv")
    for name in ("weight", "activation"):
        assert f"{name}/histogram/bin_00" in ours
        assert f"{name}/histogram" not in dashboard.read_text()
    assert "weight/norm" in dashboard.read_text()
