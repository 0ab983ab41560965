"""Records the image that is optimised through a frozen network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from lightning import LightningModule, Trainer
from torch import Tensor
from torch.nn import functional as F

from experiments.core.callbacks.instrument import Instrument, ends_step
from experiments.core.callbacks.loggers import by_network, log_image
from experiments.core.callbacks.parameters import PREFIX
from lightning_modules.input_optimization import InputOptimization
from lightning_modules.stack import Stack

# Dashboards blur enlarged pictures, so pictures get about this many pixels along their longer side.
SIDE = 112
# Maximum numbers of an image; each is a row of metrics.csv for each picture.
LARGEST = 1000
# Pixels between two pictures of the film.
GAP = 4


class InputImage(Instrument):
    """Records how the noise of an `InputOptimization` approaches its target, and logs pictures of it.

    On recorded steps `input/loss` (with the penalty, if there is one) and, where an image is inverted,
    `input/distance`: the root mean square, over the pixels, of noise minus target image; once more after the last step.
    TensorBoard and Weights & Biases get the picture `input/image` and, at the end, `input/film`: all pictures from left
    to right, and the target. Black and white are the smallest and the largest value of the target image (if there is
    none, of the first noise), and all beyond: one grey means one value throughout a run.

    Args:
        every_n_steps: optimiser steps between two records, beginning with step 0.
        picture_every_n_steps: optimiser steps between two pictures, beginning with step 0; the last is always shown.
        record_pictures: also record each picture's pixels, `parameter/noise/00` and so on row by row, and at the end
            those of the target image, `parameter/target/00`: for figures. The dashboards do not get them.
    """

    def __init__(
        self, every_n_steps: int = 10, picture_every_n_steps: int = 100, record_pictures: bool = False
    ) -> None:
        super().__init__(every_n_steps)
        if picture_every_n_steps < 1:
            raise ValueError(f"picture_every_n_steps must be at least 1; it is {picture_every_n_steps}")
        self.picture_every_n_steps = picture_every_n_steps
        self.record_pictures = record_pictures
        self._recording = False
        # For each network: the values of black and white, and the pictures so far.
        self._scales: list[Tensor] = []
        self._films: list[list[Tensor]] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start new films."""
        if stage == "fit":
            self._scales, self._films = [], []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a module without an image, or one too large to be recorded."""
        size = _images(pl_module)[0][0].numel()
        if self.record_pictures and size > LARGEST:
            raise ValueError(f"InputImage records pictures of at most {LARGEST} numbers, not of {size}")

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Log the image before the step if the step is recorded."""
        complete = ends_step(trainer, batch_idx)
        self._recording = complete and self.is_due(trainer)
        if complete and trainer.global_step % self.picture_every_n_steps == 0:
            self._show(trainer, pl_module)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Record loss and distance."""
        if self._recording:
            # Lightning has divided the loss by the accumulated batches.
            own = loss * trainer.accumulate_grad_batches
            self._record(trainer, pl_module, {"input/loss": pl_module.losses if isinstance(pl_module, Stack) else own})

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record and log the final image and the film."""
        self._record(trainer, pl_module, {})
        self._show(trainer, pl_module)
        targets = [target for _, target in _images(pl_module) if target is not None]
        if targets:
            self._record_pixels(trainer, "target", targets)
        for index, loggers in enumerate(by_network(trainer.loggers)):
            ends = [self._picture(index, targets[index])] if targets else []
            frames = [F.pad(frame, (0, GAP), value=0.5) for frame in (*self._films[index], *ends)]
            log_image(loggers, "input/film", torch.cat(frames, dim=2), trainer.global_step)
        super().on_train_end(trainer, pl_module)

    def _record(self, trainer: Trainer, pl_module: LightningModule, values: dict[str, Tensor]) -> None:
        pairs = [(image, target) for image, target in _images(pl_module) if target is not None]
        if pairs:
            distances = [(image - target).square().mean().sqrt() for image, target in pairs]
            values = {**values, "input/distance": torch.stack(distances)}
        self.record(trainer, list(values), list(values.values()))

    def _record_pixels(self, trainer: Trainer, name: str, images: Sequence[Tensor]) -> None:
        if self.record_pictures:
            numbers = torch.stack([image.flatten() for image in images], dim=1).unbind()
            self.record(trainer, [f"{PREFIX}/{name}/{index:02d}" for index in range(len(numbers))], numbers)

    def _show(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pairs = _images(pl_module)
        if not self._scales:
            self._scales = [torch.stack(torch.aminmax(image if goal is None else goal)) for image, goal in pairs]
            self._films = [[] for _ in pairs]
        self._record_pixels(trainer, "noise", [image for image, _ in pairs])
        for index, loggers in enumerate(by_network(trainer.loggers)):
            picture = self._picture(index, pairs[index][0])
            self._films[index].append(picture)
            log_image(loggers, "input/image", picture, trainer.global_step)

    def _picture(self, index: int, image: Tensor) -> Tensor:
        """Turn (1, *sample_shape) into levels between 0 and 1, enlarged: (1 or 3 channels, height, width)."""
        low, high = self._scales[index]
        levels = ((image[0] - low) / (high - low).clamp_min(torch.finfo(image.dtype).tiny)).clamp(0, 1)
        # Other samples (a text, a row of a table) are shown as a matrix.
        picture = levels if levels.dim() == 3 and len(levels) in (1, 3) else levels.reshape(1, -1, levels.shape[-1])
        factor = max(1, SIDE // max(picture.shape[1:]))
        enlarged: Tensor = picture.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
        return enlarged


def _images(pl_module: LightningModule) -> list[tuple[Tensor, Tensor | None]]:
    """Return noise and, if it exists, target image of each network, both (1, *sample_shape).

    Raises:
        ValueError: the module has no such image.
    """
    found = []
    for module in pl_module.plain if isinstance(pl_module, Stack) else [pl_module]:
        if not isinstance(module, InputOptimization):
            raise ValueError(f"InputImage shows the noise of an InputOptimization, not a {type(module).__name__}")
        found.append((module.network.noise.weight.detach(), module.network.target_image))
    return found
