"""InputImage against the noise read by hand; what TensorBoard and Weights & Biases are given."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from heard import Heard
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from experiments.core.callbacks import InputImage
from experiments.core.callbacks.input_image import GAP
from experiments.core.callbacks.loggers import log_image
from lightning_modules.input_optimization import InputOptimization

SHAPE = (1, 4, 3)


class Data(lightning.LightningDataModule):
    """Ten samples of three classes for every purpose, one a batch."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        x = torch.randn(10, *shape, generator=torch.Generator().manual_seed(0))
        self.train = self.test = (x, torch.arange(10) % 3)

    def train_dataloader(self) -> Any:
        pairs = list(zip(*self.train, strict=True))
        return torch.utils.data.DataLoader(pairs, batch_size=1)


class Watch(lightning.Callback):
    """The noise before every step, and each step's loss."""

    def __init__(self) -> None:
        self.noise: list[Tensor] = []
        self.losses: list[float] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.noise.append(pl_module.network.noise.weight.detach().clone())

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        self.losses.append(loss.item() * trainer.accumulate_grad_batches)


def fit(callback: InputImage, shape: tuple[int, ...] = SHAPE, steps: int = 25, **options: Any):
    changes = {key: options.pop(key) for key in ("loss", "target_class") if key in options}
    model = InputOptimization(
        sample_shape=shape, num_classes=3, hidden=[5], pretraining_steps=2, lr=0.1, seed=0, optimizer="adamw", **changes
    )
    watch = Watch()
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    settings = {"max_steps": steps, "callbacks": [callback, watch], "accelerator": "cpu", **quiet, **options}
    lightning.Trainer(**settings).fit(model, datamodule=Data(shape))
    return model, watch


def distance(image: Tensor, target: Tensor) -> float:
    return float(np.sqrt(np.mean((image.numpy() - target.numpy()) ** 2)))


@pytest.mark.parametrize("accumulated", [1, 2])
def test_loss_and_distance_of_recorded_steps(accumulated: int) -> None:
    heard = Heard()
    model, watch = fit(InputImage(every_n_steps=4), logger=heard, steps=9, accumulate_grad_batches=accumulated)
    rows = heard.rows
    last = accumulated - 1
    target = model.network.target_image
    expected = {}
    for step in (0, 4, 8):
        expected["input/loss", step] = watch.losses[accumulated * step + last]
        expected["input/distance", step] = distance(watch.noise[accumulated * step + last], target)
    expected["input/distance", 9] = distance(model.network.noise.weight.detach(), target)
    assert {(row.name, row.step): row.value for row in rows} == pytest.approx(expected, rel=1e-6)
    assert len(rows) == len(expected)


def test_a_class_has_no_distance() -> None:
    heard = Heard()
    fit(InputImage(every_n_steps=10), logger=heard, loss="cross_entropy", target_class=1)
    assert {(row.name, row.step) for row in heard.rows} == {("input/loss", step) for step in (0, 10, 20)}


def pictures(directory: Path) -> dict[str, list[tuple[int, np.ndarray]]]:
    events = EventAccumulator(str(directory), size_guidance={"images": 0}).Reload()
    return {
        tag: [(e.step, np.asarray(Image.open(io.BytesIO(e.encoded_image_string)))) for e in events.Images(tag)]
        for tag in events.Tags()["images"]
    }


def grey(image: Tensor, low: float, high: float) -> np.ndarray:
    """Levels of 0 to 255, each pixel of 4 × 3 enlarged to 28 × 28."""
    levels = np.clip((image[0, 0].numpy() - low) / (high - low), 0, 1)
    return np.kron(255 * levels, np.ones((28, 28)))


def test_tensorboard_gets_the_pictures_and_the_film(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path, name="", version="")
    model, watch = fit(InputImage(picture_every_n_steps=10), logger=logger)
    found = pictures(tmp_path)
    assert sorted(found) == ["input/film", "input/image"]
    target = model.network.target_image
    low, high = target.min().item(), target.max().item()
    images = {0: watch.noise[0], 10: watch.noise[10], 20: watch.noise[20], 25: model.network.noise.weight.detach()}
    assert [step for step, _ in found["input/image"]] == list(images)
    for (_, picture), image in zip(found["input/image"], images.values(), strict=True):
        assert picture.shape == (112, 84, 3)  # TensorBoard stores grey as colour
        np.testing.assert_allclose(picture[..., 0], grey(image, low, high), atol=1)
    ((step, film),) = found["input/film"]
    assert step == 25
    assert film.shape == (112, 5 * (84 + GAP), 3)
    for place, image in enumerate([*images.values(), target]):
        start = place * (84 + GAP)
        np.testing.assert_allclose(film[:, start : start + 84, 0], grey(image, low, high), atol=1)
        assert (np.abs(film[:, start + 84 : start + 84 + GAP].astype(int) - 127) <= 1).all()


def test_without_a_target_the_first_noise_gives_the_scale(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path, name="", version="")
    _, watch = fit(InputImage(picture_every_n_steps=20), logger=logger, loss="cross_entropy", target_class=0)
    first = watch.noise[0]
    found = pictures(tmp_path)
    assert [step for step, _ in found["input/image"]] == [0, 20, 25]
    for (_, picture), image in zip(found["input/image"], (first, watch.noise[20]), strict=False):
        np.testing.assert_allclose(picture[..., 0], grey(image, first.min().item(), first.max().item()), atol=1)
    assert found["input/film"][0][1].shape[1] == 3 * (84 + GAP)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        pytest.param((3, 5, 4), (110, 88), id="colour"),
        pytest.param((1, 150, 20), (150, 20), id="large"),
        pytest.param((2, 5, 4), (110, 44), id="two channels"),
        pytest.param((6, 10), (66, 110), id="text"),
        pytest.param((12,), (9, 108), id="table"),
    ],
)
def test_any_shape_is_a_picture(shape: tuple[int, ...], size: tuple[int, int], tmp_path: Path) -> None:
    fit(InputImage(), shape, steps=3, logger=TensorBoardLogger(tmp_path, name="", version=""))
    found = pictures(tmp_path)["input/image"][0][1]
    assert found.shape == (*size, 3)
    assert (found[..., 0] != found[..., 1]).any() == (len(shape) == 3 and shape[0] == 3)


def test_wandb_gets_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, Any]] = []

    class Run:
        log = staticmethod(sent.append)

    monkeypatch.setattr(WandbLogger, "experiment", property(lambda _: Run()))
    picture = torch.tensor([[[0.0, 0.5], [1.0, 0.25]]])
    log_image([WandbLogger(save_dir=tmp_path, offline=True)], "input/image", picture, 7)
    log_image([WandbLogger(save_dir=tmp_path, offline=True)], "input/image", picture.repeat(3, 1, 1), 8)
    assert [row["trainer/global_step"] for row in sent] == [7, 8]
    grey, colour = (np.asarray(row["input/image"].image) for row in sent)
    assert grey.tolist() == [[0, 128], [255, 64]]
    assert colour.tolist() == [[[v] * 3 for v in line] for line in grey.tolist()]


def test_pixels_of_every_picture_and_of_the_target_row_by_row() -> None:
    heard = Heard()
    model, watch = fit(InputImage(every_n_steps=100, picture_every_n_steps=10, record_pictures=True), logger=heard)
    rows = {(row.name, row.step): row.value for row in heard.rows if row.name.startswith("parameter/")}
    images = {0: watch.noise[0], 10: watch.noise[10], 20: watch.noise[20], 25: model.network.noise.weight.detach()}
    truth = {(f"parameter/noise/{k:02d}", s): v for s, i in images.items() for k, v in enumerate(i.flatten().tolist())}
    target = model.network.target_image.flatten().tolist()
    truth |= {(f"parameter/target/{k:02d}", 25): value for k, value in enumerate(target)}
    assert len(target) == 12
    assert rows == pytest.approx(truth, rel=1e-6)


def test_pixels_are_recorded_on_request_only_and_not_of_large_images() -> None:
    heard = Heard()
    fit(InputImage(), logger=heard)
    assert {row.name for row in heard.rows} == {"input/loss", "input/distance"}
    with pytest.raises(ValueError, match="InputImage records pictures of at most 1000 numbers, not of 1080"):
        fit(InputImage(record_pictures=True), (3, 18, 20))


def test_a_new_fit_begins_a_new_film(tmp_path: Path) -> None:
    callback = InputImage(picture_every_n_steps=10)
    fit(callback)
    fit(callback, logger=TensorBoardLogger(tmp_path, name="", version=""))
    assert pictures(tmp_path)["input/film"][0][1].shape[1] == 5 * (84 + GAP)


def test_it_changes_nothing() -> None:
    (with_it, _), (rarely, _) = fit(InputImage(1, 1)), fit(InputImage(100, 100))
    assert torch.equal(with_it.network.noise.weight, rarely.network.noise.weight)


def test_another_module_is_refused(network: Any, samples: Any, train: Any) -> None:
    with pytest.raises(ValueError, match="InputImage shows the noise of an InputOptimization, not a FullyConnected"):
        train(network(), samples(8), InputImage())


@pytest.mark.parametrize("arguments", [{"every_n_steps": 0}, {"picture_every_n_steps": 0}])
def test_bad_arguments(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(arguments))} must be at least 1; it is 0"):
        InputImage(**arguments)
