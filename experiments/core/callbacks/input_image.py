"""The image that is optimised through a frozen network, as it changes."""

from __future__ import annotations

from typing import Any

import torch
from lightning import LightningModule, Trainer
from torch import Tensor
from torch.nn import functional as F

from experiments.core.callbacks.instrument import Instrument, ends_step
from experiments.core.callbacks.parameters import PREFIX
from experiments.core.dashboards import log_image
from lightning_modules.input_optimization import InputOptimization

# A dashboard blurs what it has to enlarge: pictures get about this many pixels along their longer side.
SIDE = 112
# Numbers of an image whose pixels are recorded, a row each and picture: 28 × 28 and no much larger ones.
LARGEST = 1000
# Pixels between two pictures of the film.
GAP = 4


class InputImage(Instrument):
    """Records how the noise of an `InputOptimization` comes near its target, and shows it.

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
        self._scale: Tensor | None = None
        self._film: list[Tensor] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a module without an image, or one too large to be recorded; begin a new film."""
        image, _ = _images(pl_module)
        if self.record_pictures and image.numel() > LARGEST:
            raise ValueError(f"InputImage records pictures of at most {LARGEST} numbers, not of {image.numel()}")
        self._scale, self._film = None, []

    def is_due(self, trainer: Trainer) -> bool:
        """Whether this step is recorded or shown."""
        return super().is_due(trainer) or trainer.global_step % self.picture_every_n_steps == 0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Show the image before the step, and find out whether the step is recorded."""
        complete = ends_step(trainer, batch_idx)
        self._recording = complete and super().is_due(trainer)
        if complete and trainer.global_step % self.picture_every_n_steps == 0:
            self._show(trainer, pl_module)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Record loss and distance."""
        if self._recording:
            # Lightning has divided it.
            self._record(trainer, pl_module, {"input/loss": loss * trainer.accumulate_grad_batches})

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record and show what has become of the noise, and the film."""
        self._record(trainer, pl_module, {})
        self._show(trainer, pl_module)
        _, target = _images(pl_module)
        if target is not None:
            self._record_pixels(trainer, "target", target)
        frames = self._film if target is None else [*self._film, self._picture(target)]
        film = torch.cat([F.pad(frame, (0, GAP), value=0.5) for frame in frames], dim=2)
        log_image(trainer.loggers, "input/film", film, trainer.global_step)

    def _record(self, trainer: Trainer, pl_module: LightningModule, values: dict[str, Tensor]) -> None:
        image, target = _images(pl_module)
        if target is not None:
            values = {**values, "input/distance": (image - target).square().mean().sqrt()}
        self.record(trainer, list(values), list(values.values()))

    def _record_pixels(self, trainer: Trainer, name: str, image: Tensor) -> None:
        if self.record_pictures:
            numbers = list(image.flatten())
            self.record(trainer, [f"{PREFIX}/{name}/{index:02d}" for index in range(len(numbers))], numbers)

    def _show(self, trainer: Trainer, pl_module: LightningModule) -> None:
        image, target = _images(pl_module)
        if self._scale is None:
            self._scale = torch.stack(torch.aminmax(image if target is None else target))
        picture = self._picture(image)
        self._film.append(picture)
        self._record_pixels(trainer, "noise", image)
        log_image(trainer.loggers, "input/image", picture, trainer.global_step)

    def _picture(self, image: Tensor) -> Tensor:
        """Turn (1, *sample_shape) into levels between 0 and 1, enlarged: (1 or 3 channels, height, width)."""
        assert self._scale is not None
        low, high = self._scale
        levels = ((image[0] - low) / (high - low).clamp_min(torch.finfo(image.dtype).tiny)).clamp(0, 1)
        # Whatever is no image (a text, a row of a table) is shown as the matrix it is.
        picture = levels if levels.dim() == 3 and len(levels) in (1, 3) else levels.reshape(1, -1, levels.shape[-1])
        factor = max(1, SIDE // max(picture.shape[1:]))
        enlarged: Tensor = picture.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
        return enlarged


def _images(pl_module: LightningModule) -> tuple[Tensor, Tensor | None]:
    """Noise and, if there is one, target image, both (1, *sample_shape).

    Raises:
        ValueError: the module has no such image.
    """
    if not isinstance(pl_module, InputOptimization):
        raise ValueError(f"InputImage shows the noise of an InputOptimization, not a {type(pl_module).__name__}")
    return pl_module.network.noise.weight.detach(), pl_module.network.target_image
