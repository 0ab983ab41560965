"""Sends numbers, histograms and pictures of one or several networks to the trainer's loggers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from torch import Tensor


class NetworkLogger(Logger):
    """A logger that accepts the numbers of several networks at once."""

    @abstractmethod
    def log_networks(self, names: Sequence[str], values: Tensor, *, epoch: int, step: int, final: bool) -> None:
        """Log the numbers of a step.

        Args:
            names: of the numbers.
            values: (networks, numbers), on the host.
            epoch: in which they were measured.
            step: optimiser steps taken before.
            final: whether they are of the networks as training leaves them.
        """

    @property
    def name(self) -> str:
        """Empty: this logger has no files."""
        return ""

    @property
    def version(self) -> str:
        """Empty, so that no progress bar shows it."""
        return ""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Do nothing."""


class SeedLoggers(NetworkLogger):
    """The loggers of each network of a stack.

    Args:
        loggers: one list for each network.
        counts: whether a number counts, by the index of its network, its epoch and whether it is a final one.
    """

    def __init__(self, loggers: Sequence[Sequence[Logger]], counts: Callable[[int, int, bool], bool]) -> None:
        super().__init__()
        self.loggers = tuple(tuple(own) for own in loggers)
        self.counts = counts

    def log_networks(self, names: Sequence[str], values: Tensor, *, epoch: int, step: int, final: bool) -> None:
        """Log the numbers of each network with its loggers."""
        for index, (own, numbers) in enumerate(zip(self.loggers, values.tolist(), strict=True)):
            if self.counts(index, epoch, final):
                curves = _curves(names, numbers)
                for logger in own:
                    logger.log_metrics(curves, step)


def log_networks(
    loggers: Iterable[Logger], names: Sequence[str], values: Tensor, *, epoch: int, step: int, final: bool = False
) -> None:
    """Log numbers, (networks, numbers), with every logger; see `NetworkLogger.log_networks`."""
    for logger in loggers:
        if isinstance(logger, NetworkLogger):
            logger.log_networks(names, values, epoch=epoch, step=step, final=final)
        elif curves := _curves(names, values[0].tolist()):
            logger.log_metrics(curves, step)


def _curves(names: Sequence[str], numbers: Sequence[float]) -> dict[str, float]:
    """Drop numbers that are no useful curves: histogram bins, and single weights."""
    pairs = zip(names, numbers, strict=True)
    shown = [(n, number) for n, number in pairs if "/histogram/" not in n and not n.startswith("parameter/")]
    return {name: int(number) if name == "epoch" else number for name, number in shown}


def by_network(loggers: Iterable[Logger]) -> list[Sequence[Logger]]:
    """Return the loggers of each network of a stack, or of the only network."""
    plain: list[Logger] = []
    for logger in loggers:
        if isinstance(logger, SeedLoggers):
            return list(logger.loggers)
        plain.append(logger)
    return [plain]


def log_histogram(loggers: Iterable[Logger], name: str, counts: Tensor, edges: Tensor, step: int) -> None:
    """Send a histogram that has entries to every logger that can show it.

    Args:
        loggers: of the network.
        name: of the histogram.
        counts: entries of each bin, (bins,).
        edges: of the bins, (bins + 1,), rising.
        step: optimiser steps taken before.
    """
    filled = counts.nonzero().flatten()
    if not len(filled):
        return
    first, end = int(filled[0]), int(filled[-1]) + 1
    counts, edges = counts[first:end].double().cpu(), edges[first : end + 1].double()
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            middles = (edges[1:] + edges[:-1]) / 2
            logger.experiment.add_histogram_raw(
                name,
                min=float(edges[0]),
                max=float(edges[-1]),
                num=float(counts.sum()),
                sum=float(counts @ middles),
                sum_squares=float(counts @ middles.square()),
                bucket_limits=edges[1:].tolist(),
                bucket_counts=counts.tolist(),
                global_step=step,
            )
        elif isinstance(logger, WandbLogger):
            import wandb

            histogram = wandb.Histogram(np_histogram=(counts.numpy(), edges.numpy()))
            logger.experiment.log({name: histogram, "trainer/global_step": step})


def log_image(loggers: Iterable[Logger], name: str, picture: Tensor, step: int) -> None:
    """Send a picture, (1 or 3 channels, height, width) between 0 and 1, to every logger that can show it."""
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, picture, step)
        elif isinstance(logger, WandbLogger):
            import wandb

            bytes_of_picture = (255 * picture).round().byte().cpu().movedim(0, 2).numpy()
            logger.experiment.log({name: wandb.Image(bytes_of_picture), "trainer/global_step": step})
