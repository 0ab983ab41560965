"""What all data modules promise, on a tiny table whose numbers can be followed by eye, and under a real Trainer."""

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import BasePredictionWriter, Checkpoint
from sklearn.preprocessing import StandardScaler

from datamodules import Digits
from datamodules.base import InMemoryDataModule, Source
from datamodules.scaling import standardization
from datamodules.splits import Split


class Table(InMemoryDataModule):
    """Twelve rows of three columns of different units, one of them constant over the training rows."""

    name = "table"
    sample_shape = (3,)
    num_classes = 2

    def __init__(self, *, shift: float = 0.0, standardize: bool = True, batch_size: int = 2) -> None:
        super().__init__(batch_size=batch_size, seed=0, num_train=6, num_val=3, num_test=3, standardize=standardize)
        self.x = torch.tensor(np.random.default_rng(0).normal(size=(12, 3)) * [1, 1000, 1] + [5, -300, 0])
        self.x[:6, 2] = 0.1
        self.x[6:] += shift

    def load(self) -> Source:
        return Source(self.x, torch.arange(12) % 2)

    def split(self) -> Split:
        return Split(torch.arange(6), torch.arange(6, 9), torch.arange(9, 12))

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return x.float()


def test_columns_are_standardised_like_scikit_learn_does():
    module = Table()
    module.setup()
    scaler = StandardScaler().fit(module.x[:6].numpy())
    for (x, _), rows in zip((module.train, module.val, module.test), module.split(), strict=True):
        assert x.dtype == torch.float32
        np.testing.assert_allclose(x, scaler.transform(module.x[rows].numpy()), atol=2e-6)


def test_validation_and_test_do_not_leak_into_the_statistics():
    plain, shifted = Table(), Table(shift=1e6)
    plain.setup()
    shifted.setup()
    assert torch.equal(plain.train[0], shifted.train[0])
    assert shifted.val[0].min() > 100
    assert shifted.test[0].min() > 100


def test_what_does_not_vary_is_only_centred():
    for per_feature in (True, False):
        mean, std = standardization(torch.full((5, 3), 0.1), per_feature=per_feature)
        assert torch.equal(std, torch.ones_like(std))
        torch.testing.assert_close(mean, torch.full_like(mean, 0.1))


def test_unstandardised_values_are_the_source():
    module = Table(standardize=False)
    module.setup()
    assert torch.equal(module.test[0], module.x[9:].float())
    assert module.test[1].tolist() == [1, 0, 1]


def test_setup_works_once():
    module = Digits(batch_size=64, seed=1000)
    module.setup("fit")
    train = module.train[0]
    module.setup("test")
    assert module.train[0] is train


def test_sizes_are_known_before_anything_is_read(monkeypatch):
    monkeypatch.setattr(Digits, "load", lambda _: pytest.fail("the constructor must not read"))
    module = Digits(batch_size=64, seed=1000)
    assert (module.num_features, module.num_classes, module.name, module.disjoint_test) == (64, 10, "digits", False)
    assert (module.num_train, module.num_val, module.num_test) == (1200, 297, 300)


def test_digest_is_that_of_the_content():
    source = Source(torch.tensor([[1, 2]], dtype=torch.uint8), torch.tensor([3]))
    content = b"torch.uint8 (1, 2)" + bytes([1, 2]) + b"torch.int64 (1,)" + (3).to_bytes(8, "little")
    assert source.sha256 == hashlib.sha256(content).hexdigest()
    assert Source(torch.tensor([[1, 3]], dtype=torch.uint8), source.y).sha256 != source.sha256


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size must be >= 1 or 'full', not 0"),
        ({"batch_size": -3}, "batch_size must be >= 1 or 'full', not -3"),
        ({"num_train": 0}, "num_train must be >= 1, not 0"),
        ({"num_val": 0}, "num_val must be >= 1, not 0"),
        ({"num_test": -1}, "num_test must be >= 1, not -1"),
        ({"seed": -1}, "seed must be >= 0, not -1"),
        ({"batch_size": 1201}, "batch_size must be <= num_train = 1200, not 1201"),
        (
            {"batch_size": 2401, "duplicates": 1},
            r"batch_size must be <= num_train \* \(1 \+ duplicates\) = 2400, not 2401",
        ),
        ({"duplicates": -1}, "duplicates must be >= 0, not -1"),
        ({"label_noise": 1.5}, r"label_noise must lie in \[0, 1\], not 1.5"),
        ({"label_noise": -0.1}, r"label_noise must lie in \[0, 1\], not -0.1"),
        ({"label_noise": float("nan")}, r"label_noise must lie in \[0, 1\], not nan"),
    ],
)
def test_bad_sizes_are_refused_at_once(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Digits(**{"batch_size": 64, "seed": 1000} | arguments)


def test_more_samples_than_there_are_are_refused_before_anything_is_made():
    module = Digits(batch_size=64, seed=1000, num_train=1201)
    message = r"^num_train \+ num_val \+ num_test must be <= 1797, the samples there are, not 1798$"
    with pytest.raises(ValueError, match=message):
        module.setup()
    assert not hasattr(module, "train")


def test_a_batch_may_be_the_whole_training_split():
    module = Digits(batch_size=1200, seed=1000)
    module.setup()
    assert [len(y) for _, y in module.train_dataloader()] == [1200]


def test_evaluation_goes_through_every_sample_as_it_lies():
    module = Digits(batch_size=64, seed=1000, num_train=64, num_val=1100, num_test=300)
    module.setup()
    batches = list(module.val_dataloader())
    assert [len(y) for _, y in batches] == [1024, 76]
    assert torch.equal(torch.cat([y for _, y in batches]), module.val[1])
    for loader in (module.test_dataloader(), module.predict_dataloader()):
        ((x, y),) = loader
        assert torch.equal(x, module.test[0])
        assert torch.equal(y, module.test[1])


def test_several_devices_are_refused():
    module = Table()
    module.setup()
    module.trainer = SimpleNamespace(world_size=2, overfit_batches=0)
    with pytest.raises(ValueError, match=r"^Table feeds one device, not 2: set trainer.devices to 1$"):
        module.train_dataloader()


def test_trainer_sees_every_sample_once_an_epoch_in_another_order(recorder, make_trainer):
    module, network = Digits(batch_size=200, seed=1000), recorder(64)
    make_trainer(max_epochs=3).fit(network, module)
    orders = [module.train_dataloader().order.rows(epoch) for epoch in range(3)]
    assert len({tuple(order.tolist()) for order in orders}) == 3
    assert len({row.tobytes() for row in module.train[0].numpy()}) == 1200  # no two digits look the same
    for epoch, order in enumerate(orders):
        batches = [rows for e, rows in network.seen if e == epoch]
        assert [len(rows) for rows in batches] == [200] * 6
        assert [row for rows in batches for row in rows] == [row.tobytes() for row in module.train[0][order].numpy()]


def test_overfitting_repeats_the_same_batches(recorder, make_trainer):
    network = recorder(64)
    make_trainer(max_epochs=2, overfit_batches=2).fit(network, Digits(batch_size=16, seed=1000))
    seen = [rows for _, rows in network.seen]
    assert seen[:2] == seen[2:]


class SaveAt(Checkpoint):
    """Save after one step, or at the end of one epoch."""

    def __init__(self, path, step=None, epoch=None) -> None:
        self.path, self.step, self.epoch = path, step, epoch

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)

    def on_train_epoch_end(self, trainer, _):
        if trainer.current_epoch == self.epoch:
            trainer.save_checkpoint(self.path)


# An epoch has 6 batches: after the first one, in the middle, before the last one of an epoch, and between two epochs.
@pytest.mark.parametrize("moment", [{"step": 1}, {"step": 9}, {"step": 11}, {"epoch": 0}, {"epoch": 1}])
@pytest.mark.parametrize("scheduled", [False, True])
def test_resumed_training_is_the_uninterrupted_one(moment, scheduled, recorder, make_trainer, tmp_path):
    path = tmp_path / "stop.ckpt"
    whole = recorder(64, scheduled)
    make_trainer(max_epochs=3, callbacks=[SaveAt(path, **moment)]).fit(whole, Digits(batch_size=200, seed=1000))

    resumed = recorder(64, scheduled)
    make_trainer(max_epochs=3).fit(resumed, Digits(batch_size=200, seed=1000), ckpt_path=path, weights_only=True)
    done = moment.get("step", 6 * (moment.get("epoch", 0) + 1))
    assert resumed.seen == whole.seen[done:]
    assert torch.equal(resumed.layer.weight, whole.layer.weight)


def test_a_resumed_module_can_train_again_from_the_start(recorder, make_trainer, tmp_path):
    path, module = tmp_path / "stop.ckpt", Digits(batch_size=200, seed=1000)
    make_trainer(max_epochs=1, callbacks=[SaveAt(path, step=4)]).fit(recorder(64), module)
    make_trainer(max_epochs=1).fit(recorder(64), module, ckpt_path=path, weights_only=True)
    again = recorder(64)
    make_trainer(max_epochs=1).fit(again, module)
    assert len(again.seen) == 6


class Rows(BasePredictionWriter):
    """Keeps which samples each batch of predictions is of."""

    def __init__(self) -> None:
        super().__init__("batch")
        self.seen = []

    def write_on_batch_end(self, trainer, pl_module, prediction, batch_indices, batch, batch_idx, dataloader_idx):
        self.seen += batch_indices


def test_predictions_know_their_samples(recorder, make_trainer):
    rows = Rows()
    network = recorder(64)
    network.forward = lambda batch: network.layer(batch[0].flatten(1))
    module = Digits(batch_size=64, seed=1000)
    outputs = torch.cat(make_trainer(callbacks=[rows]).predict(network, module))
    assert torch.equal(outputs, network.layer(module.test[0].flatten(1)))
    assert rows.seen == list(range(300))
