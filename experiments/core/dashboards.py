"""What only some loggers can show: histograms and figures, in TensorBoard and in Weights & Biases."""

from __future__ import annotations

from collections.abc import Iterable

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from torch import Tensor


def log_histogram(loggers: Iterable[Logger], name: str, values: Tensor, step: int) -> None:
    """Send a histogram of `values` to every logger that can show one; an empty tensor is not sent."""
    if values.numel() == 0:
        return
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_histogram(name, values, step)
        elif isinstance(logger, WandbLogger):
            import wandb

            logger.experiment.log({name: wandb.Histogram(values.cpu().numpy()), "trainer/global_step": step})
