"""FurtherTests against the same network tested by hand: after the last step, shifted, under noise, without units."""

from __future__ import annotations

import copy

import lightning
import numpy as np
import pytest
import torch
from heard import Heard, rows_of
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from datamodules import DescriptionTexts, Digits, Iris
from datamodules.loader import generator
from experiments.core.callbacks import FurtherTests
from experiments.core.callbacks.further_tests import remove_units
from lightning_modules import Convolutional, FullyConnected, LinearModel

QUIET = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
CLOSE = {"rel": 1e-9, "abs": 1e-12}


class Parts(lightning.LightningDataModule):
    """Training and test samples of the fixtures; the last test batch is partial."""

    def __init__(self, train, test, batch_size=8) -> None:
        super().__init__()
        self.parts = {"train": train, "test": test}
        self.batch_size = batch_size

    def train_dataloader(self) -> DataLoader:
        return DataLoader(TensorDataset(*self.parts["train"]), batch_size=self.batch_size)

    def test_dataloader(self) -> DataLoader:
        return DataLoader(TensorDataset(*self.parts["test"]), batch_size=self.batch_size)


def outcome_of(module, data, *callbacks, batch_size=24):
    """What a test says: the trainer's numbers, and those of the callbacks."""
    given = data if isinstance(data, lightning.LightningDataModule) else Parts(data, data, batch_size)
    trainer = lightning.Trainer(callbacks=list(callbacks), **{**QUIET, "logger": Heard()})
    trainer.test(module, given, verbose=False)
    numbers = {name: float(value) for name, value in trainer.callback_metrics.items()}
    return numbers | {row.name: row.value for row in rows_of(trainer)}


def after_a_fit(module, data, callback) -> lightning.Trainer:
    trainer = lightning.Trainer(max_epochs=2, callbacks=[callback], **{**QUIET, "logger": Heard()})
    trainer.fit(module, datamodule=data)
    return trainer


def scores(outputs, targets):
    accuracy = (outputs.argmax(1) == targets).double().mean()
    return {"loss": F.cross_entropy(outputs, targets).item(), "accuracy": accuracy.item()}


def test_noise_of_the_seed_is_added_to_the_inputs(network, samples):
    module, (x, y) = network(seed=3), samples(24)
    found = outcome_of(module, (x, y), FurtherTests(noise=[0.5, 2]))
    noise = torch.randn(x.shape, generator=generator(3, "robustness/noise/0"), dtype=x.dtype)
    with torch.no_grad():
        for name, sigma in {"": 0.0, "/noise=0.5": 0.5, "/noise=2": 2.0}.items():
            for key, value in scores(module(x + sigma * noise), y).items():
                assert found[f"test/{key}{name}"] == pytest.approx(value, **CLOSE)
    assert found["test/loss/noise=2"] != found["test/loss/noise=0.5"] != found["test/loss"]


def test_without_any_unit_only_the_last_bias_speaks(network, samples):
    module, (x, y) = network(activation="relu"), samples(24)
    found = outcome_of(module, (x, y), FurtherTests(removed=[1]))
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
    found = outcome_of(module, (x, y), FurtherTests(noise=[0.5]), batch_size=16)
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
    with_damage = outcome_of(module, data, FurtherTests(noise=[1.0], removed=[0.5]))
    assert {name: with_damage[name] for name in plain} == plain
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert not any(m._forward_hooks for m in module.modules())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "there is nothing to test"),
        ({"noise": [0.0]}, "noise must list different numbers > 0"),
        ({"noise": [1.0, 1.0]}, "noise must list different numbers > 0"),
        ({"noise": [float("nan")]}, "noise must list different numbers > 0"),
        ({"removed": [1.5]}, "shares of at most 1"),
    ],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        FurtherTests(**arguments)


def test_a_module_that_it_cannot_test_is_refused(network, samples):
    trainer = lightning.Trainer(**QUIET)
    with pytest.raises(ValueError, match="FurtherTests needs a LectureModule, not a LightningModule"):
        FurtherTests(noise=[1.0]).on_fit_start(trainer, lightning.LightningModule())
    linear = LinearModel(num_features=6, num_classes=3, seed=0)
    with pytest.raises(ValueError, match="LinearModel has no activation module: no hidden unit to remove"):
        FurtherTests(removed=[0.5]).on_fit_start(trainer, linear)


def fitted(module, *callbacks, **data):
    datamodule = Digits(batch_size=50, seed=7, num_train=120, num_val=50, num_test=50, **data)
    trainer = lightning.Trainer(
        callbacks=list(callbacks), max_epochs=2, num_sanity_val_steps=0, **{**QUIET, "logger": Heard()}
    )
    trainer.fit(module, datamodule)
    return trainer


def digits_network(**arguments):
    settings = {"hidden": [12], "activation": "relu", "optimizer": "adam", "lr": 0.01, "seed": 7}
    return FullyConnected(num_features=64, num_classes=10, **{**settings, **arguments})


def test_training_samples_are_evaluated_unchanged_without_dropout_and_with_the_labels_that_were_learnt():
    module = digits_network(dropout=0.5)
    trainer = fitted(module, FurtherTests(training=True), augmentation=["shift"], label_noise=0.3)
    found = {row.name: row.value for row in rows_of(trainer)}
    x, y = trainer.datamodule.train
    with torch.no_grad():
        expected = scores(module.eval()(x), y)
    assert found == pytest.approx({f"training_test/{key}": value for key, value in expected.items()}, rel=1e-5)
    assert found["training_test/accuracy"] > 0


def test_loss_and_accuracy_of_the_last_weights_in_evaluation_mode(network, samples) -> None:
    module = network(dropout=0.5)
    test = samples(21, seed=7)
    rows = rows_of(after_a_fit(module, Parts(samples(24), test), FurtherTests(final=True)))
    assert {row.name for row in rows} == {"final_test/loss", "final_test/accuracy"}
    assert {row.step for row in rows} == {6}
    x, y = test
    found = {row.name: row.value for row in rows}
    with torch.no_grad():
        outputs = module.eval()(x)
    assert found["final_test/loss"] == pytest.approx(F.cross_entropy(outputs, y).item(), rel=1e-12)
    assert found["final_test/accuracy"] == pytest.approx((outputs.argmax(1) == y).double().mean().item(), rel=1e-12)


def test_it_leaves_weights_and_mode_as_they_are(network, samples) -> None:
    module = network()
    after_a_fit(module, Parts(samples(24), samples(21)), FurtherTests(final=True))
    other = network()
    after_a_fit(other, Parts(samples(24), samples(21)), lightning.Callback())
    assert module.training == other.training
    states = [copy.deepcopy(m.state_dict()) for m in (module, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("by", [1, 3])
def test_images_move_in_four_directions(by):
    data = Digits(batch_size=50, seed=1, num_train=100, num_test=300)
    module = FullyConnected(num_features=64, num_classes=10, hidden=[16], seed=1)
    found = outcome_of(module, data, FurtherTests(shifted=by))
    x, y = data.test
    moved = [
        torch.cat([x[:, :, by:], x[:, :, :by]], dim=2),
        torch.cat([x[:, :, -by:], x[:, :, :-by]], dim=2),
        torch.cat([x[..., by:], x[..., :by]], dim=3),
        torch.cat([x[..., -by:], x[..., :-by]], dim=3),
    ]
    with torch.no_grad():
        outputs = [module(image) for image in moved]
    accuracy = np.mean([(o.argmax(1) == y).double().mean().item() for o in outputs])
    loss = np.mean([F.cross_entropy(o, y).item() for o in outputs])
    assert found[f"test/accuracy/shifted={by}"] == pytest.approx(accuracy, abs=1e-6)
    assert found[f"test/loss/shifted={by}"] == pytest.approx(loss, rel=1e-5)
    assert found["test/loss"] != pytest.approx(loss, rel=1e-3)


def test_a_circular_network_does_not_notice():
    data = Digits(batch_size=50, seed=1, num_train=100, num_test=300)
    shape = {"sample_shape": (1, 8, 8), "num_classes": 10, "channels": [4]}
    module = Convolutional(**shape, seed=1, padding="circular", pooling="none", head="average")
    found = outcome_of(module, data, FurtherTests(shifted=2))
    assert found["test/loss/shifted=2"] == pytest.approx(found["test/loss"], rel=1e-5)


def test_texts_move_along_their_one_axis():
    data = DescriptionTexts(batch_size=20, seed=1, length=16, num_train=40, num_val=20, num_test=50)
    module = FullyConnected(num_features=48 * 16, num_classes=10, hidden=[16], seed=1)
    found = outcome_of(module, data, FurtherTests(shifted=2))
    x, y = data.test
    with torch.no_grad():
        loss = np.mean([F.cross_entropy(module(x.roll(shift, 2)), y).item() for shift in (-2, 2)])
    assert found["test/loss/shifted=2"] == pytest.approx(loss, rel=1e-5)


def test_a_table_has_nothing_to_move():
    module = FullyConnected(num_features=4, num_classes=3, hidden=[4], seed=1)
    with pytest.raises(ValueError, match=r"only images and sequences can be shifted, not samples of shape \(4,\)"):
        outcome_of(module, Iris(batch_size=30, seed=0), FurtherTests(shifted=1))
    with pytest.raises(ValueError, match="shifted must be at least 1; it is 0"):
        FurtherTests(shifted=0)
