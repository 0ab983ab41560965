"""Measures of a run, and contrasts. Accuracies are shares; losses are cross-entropies in nats."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from experiments.core.grid.runs import Run

# With a fifth of the labels drawn at random, a network that knows only the true classes has a loss of at least 0.87
# nats; below that it memorises wrong labels.
LEARNED = 0.5
# A training accuracy that requires memorising the samples.
BY_HEART = 0.95


def test_loss_excess(run: Run) -> float:
    """Test loss of the last weights minus that of the best weights on the validation sample."""
    return run["final_test/loss"] - run["test/loss"]


def test_accuracy_excess(run: Run) -> float:
    """Test accuracy of the last weights minus that of the best weights; negative if further training cost accuracy."""
    return run["final_test/accuracy"] - run["test/accuracy"]


def best_val_loss(run: Run) -> float:
    """Smallest validation loss of the run."""
    seen = [value for *_, value in run.series("val/loss") if math.isfinite(value)]
    return min(seen, default=math.nan)


def best_val_loss_if_learned(run: Run) -> float:
    """Smallest validation loss; infinite if the training loss never falls to 0.5 (learning rate too small)."""
    learned = any(value <= LEARNED for *_, value in run.series("train/loss"))
    return best_val_loss(run) if learned else math.inf


def best_epoch(run: Run) -> float:
    """Epoch, counted from 1, with the smallest validation loss."""
    seen = [(value, epoch) for epoch, _, value in run.series("val/loss") if math.isfinite(value)]
    return float(min(seen)[1] + 1) if seen else math.nan


def val_loss_excess_when_learned(run: Run) -> float:
    """Validation loss minus its minimum when the training loss first is at most 0.5; at the end if it never is.

    The validation loss is interpolated between validations.
    """
    seen = run.series("val/loss")
    learned = [epoch for epoch, _, value in run.series("train/loss") if value <= LEARNED]
    if not seen:
        return math.nan
    at = learned[0] if learned else seen[-1][0]
    epochs, losses = [epoch for epoch, *_ in seen], [loss for *_, loss in seen]
    return float(np.interp(at, epochs, losses) - min(losses))


def learned_epoch(run: Run) -> float:
    """Epoch, counted from 1, in which the training loss first is at most 0.5; the last one if it never is."""
    trained = run.series("train/loss")
    return _first_epoch([(epoch, value <= LEARNED) for epoch, _, value in trained])


def by_heart_epoch(run: Run) -> float:
    """Epoch, counted from 1, in which the training accuracy first is 95 %; the last one if it never is."""
    trained = run.series("train/accuracy")
    return _first_epoch([(epoch, value >= BY_HEART) for epoch, _, value in trained])


def by_heart(run: Run) -> float:
    """1 if the training accuracy is 95 % in some epoch, else 0."""
    return float(any(value >= BY_HEART for *_, value in run.series("train/accuracy")))


def test_accuracy_over_chance(run: Run) -> float:
    """Test accuracy of the last weights minus that of guessing among ten classes."""
    return run["final_test/accuracy"] - 0.1


def slope_per_layer(points: Sequence[tuple[Run, float]]) -> float:
    """Contrast: slope of the least-squares line of the measure against the number of hidden layers."""
    depths = [float(run.settings["depth"]) for run, _ in points]
    return float(np.polyfit(depths, [value for _, value in points], 1)[0])


def random_minus_true(points: Sequence[tuple[Run, float]]) -> float:
    """Contrast of two conditions: the first minus the second."""
    (_, first), (_, second) = points
    return first - second


def _first_epoch(reached: Sequence[tuple[int, bool]]) -> float:
    epochs = [epoch for epoch, is_there in reached if is_there] or [epoch for epoch, _ in reached[-1:]]
    return float(epochs[0] + 1) if epochs else math.nan
