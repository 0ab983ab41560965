"""What the tested network still knows when its inputs are noisy, or when part of it is gone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from datamodules.loader import generator
from experiments.core.callbacks.instrument import non_linearities
from lightning_modules.base import EpochMeans, LectureModule


class Robustness(Callback):
    """Tests the network again on noisy inputs and with hidden units removed, beside the test it has anyway.

    `test/accuracy/noise=0.5`, and so for the loss and all else that is counted: Gaussian noise of this standard
    deviation is added to every input, in the inputs' unit (where they are standardised, the deviation of the training
    inputs). `test/accuracy/removed=0.5`: in every layer this share of the hidden units is silent, rounded to whole
    units, others for each sample; nothing makes up for them. Every draw depends on the seed and the batch alone, so
    networks of one seed meet the same noise, and those of one shape lose the same units; more noise is the same noise
    enlarged, and a larger share contains the smaller one. Slide "Lutter contre le sur-apprentissage".

    Args:
        noise: standard deviations, > 0.
        removed: shares of hidden units, in (0, 1].

    Raises:
        ValueError: nothing is asked for, a number is out of range, or comes twice.
    """

    def __init__(self, noise: Sequence[float] = (), removed: Sequence[float] = ()) -> None:
        for name, values in {"noise": noise, "removed": removed}.items():
            if any(not value > 0 for value in values) or len(set(values)) < len(values):
                raise ValueError(f"{name} must list different numbers > 0, not {list(values)}")
        if any(share > 1 for share in removed):
            raise ValueError(f"removed must list shares of at most 1, not {list(removed)}")
        if not (noise or removed):
            raise ValueError("give noise or removed: there is nothing to test with")
        self.noise = list(noise)
        self.removed = list(removed)
        self._means: dict[str, EpochMeans] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a module that this cannot test."""
        if not isinstance(pl_module, LectureModule):
            raise ValueError(f"Robustness tests a LectureModule, not a {type(pl_module).__name__}")
        if self.removed and not non_linearities(pl_module):
            raise ValueError(f"{type(pl_module).__name__} has no module named 'activation': no hidden unit to remove")

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget an earlier pass."""
        self._means = {}

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Test each way of spoiling this batch."""
        assert isinstance(pl_module, LectureModule)  # `setup` lets no other pass
        inputs, targets = batch
        draws = generator(pl_module.seed, f"robustness/noise/{batch_idx}")
        noise = torch.randn(inputs.shape, generator=draws, dtype=inputs.dtype).to(inputs.device)
        for sigma in self.noise:
            self._count(f"noise={sigma:g}", pl_module, pl_module(inputs + sigma * noise), targets)
        for share in self.removed:
            handles = remove_units(pl_module, share, pl_module.seed, batch_idx)
            try:
                thinned = pl_module(inputs)
            finally:
                for handle in handles:
                    handle.remove()
            self._count(f"removed={share:g}", pl_module, thinned, targets)

    def _count(self, name: str, pl_module: LectureModule, outputs: Tensor, targets: Tensor) -> None:
        self._means.setdefault(name, EpochMeans()).count(pl_module.criterion, outputs, targets)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the means, which the recorder keeps as measures of the run."""
        assert isinstance(pl_module, LectureModule)
        for name, means in self._means.items():
            summary = pl_module.criterion.summarize(means.compute())
            pl_module.log_dict({f"test/{key}/{name}": value for key, value in summary.items()}, batch_size=1)


def remove_units(module: nn.Module, share: float, seed: int, batch_idx: int) -> list[RemovableHandle]:
    """Silence a share of the units of every non-linearity, others for each sample, until the handles are removed."""
    found = non_linearities(module)
    return [
        layer.register_forward_hook(_silence(share, seed, f"robustness/{name}/{batch_idx}"))
        for name, layer in found.items()
    ]


def _silence(share: float, seed: int, purpose: str) -> Callable[[nn.Module, Any, Tensor], Tensor]:
    def hook(_module: nn.Module, _inputs: Any, z: Tensor) -> Tensor:
        # Anew at every call, so that a recurrent network loses the same units at every step; of an image, channels.
        draws = torch.rand(z.shape[:2], generator=generator(seed, purpose))
        place = draws.argsort(dim=1).argsort(dim=1).to(z.device)
        kept = place >= round(share * z.shape[1])
        return z * kept.reshape(*z.shape[:2], *[1] * (z.dim() - 2))

    return hook
