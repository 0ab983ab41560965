"""Further tests of a network: on other samples, after the last step, or with damaged inputs or units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from lightning import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from datamodules.base import InMemoryDataModule
from datamodules.loader import generator
from experiments.core.callbacks.evaluation import Pass, data_of_each, evaluate, plain_modules, stacked
from experiments.core.callbacks.instrument import Instrument, non_linearities
from lightning_modules.base import LectureModule


class FurtherTests(Instrument):
    """Computes loss and metrics in further tests.

    After the last step, in evaluation mode and before the best weights take the place of the last ones:
    `final_test/…` on the test sample, whose difference to `test/…` is what training on cost; `training_test/…` on the
    training samples as they are, where `train/…` is taken under dropout, on augmented images and while the weights
    change. No choice depends on them. Slides "Réseau Fully-Connected" and "Lutter contre le sur-apprentissage".

    After the test, with the weights that were tested:
    `test/accuracy/shifted=2` (and so the loss and all metrics): images move along either axis, texts along their one,
    in both directions; what leaves on one side comes back on the other. The mean is over all directions.
    `test/accuracy/noise=0.5`: Gaussian noise of this standard deviation is added to every input, in the inputs' unit.
    `test/accuracy/removed=0.5`: in every layer this share of the hidden units is silent, rounded to whole units, others
    for each sample. Every draw depends on the seed and the batch alone, so networks of one seed meet the same noise,
    and those of one shape lose the same units; more noise is the same noise enlarged, and a larger share contains the
    smaller one.

    Args:
        final: test after the last step.
        training: test on the training samples after the last step.
        shifted: pixels or characters, >= 1; None for no such test.
        noise: standard deviations, > 0.
        removed: shares of hidden units, in (0, 1].

    Raises:
        ValueError: nothing is asked for, or a number is out of range or comes twice; when the fit begins, a module or
            samples that cannot be tested so.
    """

    def __init__(
        self,
        final: bool = False,
        training: bool = False,
        shifted: int | None = None,
        noise: Sequence[float] = (),
        removed: Sequence[float] = (),
    ) -> None:
        super().__init__()
        for name, values in {"noise": noise, "removed": removed}.items():
            if any(not value > 0 for value in values) or len(set(values)) < len(values):
                raise ValueError(f"{name} must list different numbers > 0, not {list(values)}")
        if any(share > 1 for share in removed):
            raise ValueError(f"removed must list shares of at most 1, not {list(removed)}")
        if shifted is not None and shifted < 1:
            raise ValueError(f"shifted must be at least 1; it is {shifted}")
        if not (final or training or shifted or noise or removed):
            raise ValueError("give final, training, shifted, noise or removed: there is nothing to test")
        self.final = final
        self.training = training
        self.shifted = shifted
        self.noise = list(noise)
        self.removed = list(removed)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a module that cannot be tested in this way."""
        (first, *_) = plain_modules(pl_module, self)
        if self.removed and not non_linearities(first):
            raise ValueError(f"{type(first).__name__} has no activation module: no hidden unit to remove")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Test the weights of the last step."""
        modules, data = plain_modules(pl_module, self), data_of_each(trainer)
        if self.final:
            self._add(trainer, "final_test/{}", modules, [own.test_dataloader() for own in data])
        if self.training and all(isinstance(own, InMemoryDataModule) for own in data):
            splits = [own.evaluation_loader(own.train) for own in data]
            self._add(trainer, "training_test/{}", modules, splits)
        super().on_train_end(trainer, pl_module)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Test again with each kind of damage."""
        ways: dict[str, Pass] = {f"shifted={self.shifted}": partial(_shifted, self.shifted)} if self.shifted else {}
        ways |= {f"noise={sigma:g}": partial(_noisy, sigma) for sigma in self.noise}
        ways |= {f"removed={share:g}": partial(_thinned, share) for share in self.removed}
        modules, data = plain_modules(pl_module, self), data_of_each(trainer)
        for name, passes in ways.items():
            self._add(trainer, f"test/{{}}/{name}", modules, [own.test_dataloader() for own in data], passes)
        super().on_test_end(trainer, pl_module)

    def _add(
        self, trainer: Trainer, name: str, modules: Sequence[LectureModule], loaders: Sequence[Any], *passes: Pass
    ) -> None:
        pairs = zip(modules, loaders, strict=False)
        columns = stacked([evaluate(module, loader, *passes) for module, loader in pairs])
        self.record(trainer, [name.format(key) for key in columns], list(columns.values()))


def _shifted(by: int, module: LectureModule, inputs: Tensor, _index: int) -> list[Tensor]:
    if inputs.dim() < 3:
        raise ValueError(f"only images and sequences can be shifted, not samples of shape {tuple(inputs.shape[1:])}")
    axes = range(2, inputs.dim())
    return [module(inputs.roll(shift, axis)) for axis in axes for shift in (-by, by)]


def _noisy(sigma: float, module: LectureModule, inputs: Tensor, index: int) -> list[Tensor]:
    draws = generator(_seed(module), f"robustness/noise/{index}")
    noise = torch.randn(inputs.shape, generator=draws, dtype=inputs.dtype).to(inputs.device)
    return [module(inputs + sigma * noise)]


def _thinned(share: float, module: LectureModule, inputs: Tensor, index: int) -> list[Tensor]:
    handles = remove_units(module, share, _seed(module), index)
    try:
        return [module(inputs)]
    finally:
        for handle in handles:
            handle.remove()


def _seed(module: LectureModule) -> int:
    assert module.seed is not None
    return module.seed


def remove_units(module: nn.Module, share: float, seed: int, batch_idx: int) -> list[RemovableHandle]:
    """Set a share of the units after each non-linearity to 0, drawn for each sample, until the handles are removed."""
    found = non_linearities(module)
    return [
        layer.register_forward_hook(_silence(share, seed, f"robustness/{name}/{batch_idx}"))
        for name, layer in found.items()
    ]


def _silence(share: float, seed: int, purpose: str) -> Callable[[nn.Module, Any, Tensor], Tensor]:
    def hook(_module: nn.Module, _inputs: Any, z: Tensor) -> Tensor:
        # A new generator at every call, so that a recurrent network loses the same units at every step.
        # For images, whole channels are set to 0.
        draws = torch.rand(z.shape[:2], generator=generator(seed, purpose))
        place = draws.argsort(dim=1).argsort(dim=1).to(z.device)
        kept = place >= round(share * z.shape[1])
        return z * kept.reshape(*z.shape[:2], *[1] * (z.dim() - 2))

    return hook
