"""Checks of mistakes whose symptom needs no training: pure functions of a seed.

`error` is the error of the correct code; `counterexamples` counts the draws on which the mistake has a symptom. `right`
and `wrong` are the same number for correct code and for the mistake, for the gallery.
"""

from __future__ import annotations

import math
import shlex
import time
import warnings
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from lightning_modules import FullyConnected
from lightning_modules.metrics import MeanLoss

DRAWS = 20
CLASSES = 10
# Range of times for names of log directories, 2020 to 2030, in seconds since 1970.
TIMES = (1_577_836_800, 1_893_456_000)
# A relative difference must exceed this to count as a symptom.
VISIBLE = 0.01


def column_against_row(seed: int) -> dict[str, float]:
    """Broadcast outputs (n, 1) against targets (n,), which gives the squared error of all n² pairs.

    `right` and `wrong` are R² of the line that minimises each loss. Over all pairs, the best line is the mean of the
    targets, because every target acts on every output.
    """
    generator, errors, shown, scores = Generator().manual_seed(seed), [], 0, []
    for _ in range(DRAWS):
        n = int(torch.randint(10, 30, (), generator=generator))
        x, noise = _normal(generator, n), _normal(generator, n)
        y, outputs = x + 0.5 * noise, _normal(generator, n, 1)
        truth = float(sum((float(o) - float(t)) ** 2 for o, t in zip(outputs, y, strict=True)) / n)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about the broadcast
            wrong = float(F.mse_loss(outputs, y))
        errors.append(_error(float(F.mse_loss(outputs.view(-1), y)), truth))
        shown += _error(wrong, truth) > VISIBLE
        pairs = torch.cartesian_prod(torch.arange(n), torch.arange(n))
        scores.append([_r2(x, y, x, y), _r2(x[pairs[:, 0]], y[pairs[:, 1]], x, y)])
    right, wrong = torch.tensor(scores).mean(0).tolist()
    return _gallery(errors, shown, right, wrong)


def softmax_twice(seed: int) -> dict[str, float]:
    """Apply softmax before the cross-entropy, which includes it: the loss cannot fall below log(1 + (K − 1)/e).

    The predictions of K = 10 classes are confident and correct; `right` and `wrong` are the mean loss. The bound is the
    loss of a perfect prediction, whose softmax outputs 1 and 0 are used as logits.
    """
    generator, errors, losses = Generator().manual_seed(seed), [], []
    floor = math.log(1 + (CLASSES - 1) / math.e)
    for _ in range(DRAWS):
        logits, label = _normal(generator, 1, CLASSES), torch.randint(CLASSES, (1,), generator=generator)
        logits[0, label] += 5 + 10 * float(torch.rand((), generator=generator))
        right, wrong = (float(F.cross_entropy(outputs, label)) for outputs in (logits, logits.softmax(1)))
        errors.append(_error(right, float(logits.logsumexp(1) - logits[0, label])))
        perfect = F.one_hot(label, CLASSES).double()
        errors.append(_error(float(F.cross_entropy(perfect, label)), floor))
        losses.append([right, wrong])
    table = torch.tensor(losses)
    shown = int(((table[:, 1] >= floor) & (table[:, 0] < floor / 2)).sum())
    return _gallery(errors, shown, *table.mean(0).tolist())


def evaluation_mode(seed: int) -> dict[str, float]:
    """Predict samples together with other samples, in evaluation mode and, by mistake, in training mode.

    The network has BatchNorm and dropout; `right` and `wrong` are the shares of predictions whose class changes.
    """
    generator = Generator().manual_seed(seed)
    network = FullyConnected(
        num_features=8, num_classes=CLASSES, seed=seed, hidden=[16, 16], normalization="batch", dropout=0.5
    ).double()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for _ in range(5):  # moves the running statistics towards those of the data
            network.train()(_normal(generator, 64, 8))
        samples = _normal(generator, DRAWS, 8)
        batches = [torch.cat([samples, _normal(generator, 12, 8)]) for _ in range(10)]
        right, wrong = (
            torch.stack([network.train(training)(batch)[:DRAWS] for batch in batches]) for training in (False, True)
        )
    # Share of the batches in which a sample's class differs from its most frequent one, (samples,).
    changed = [(o.argmax(2) != o.argmax(2).mode(0).values).double().mean(0) for o in (right, wrong)]
    errors = [float((right - right[0]).abs().max() / (1 + right.abs().max()))]
    return _gallery(errors, int((changed[1] > 0).sum()), *(float(share.mean()) for share in changed))


def batch_means(seed: int) -> dict[str, float]:
    """Average batch means, which is not the epoch's mean if the last batch is smaller.

    `right` and `wrong` are the errors in per cent of the true mean, for 65 samples in batches of 64: the last sample
    has as much weight as all others together.
    """
    generator, errors, off = Generator().manual_seed(seed), [], []
    for _ in range(DRAWS):
        losses = _normal(generator, 65).exp()
        truth, epoch = float(losses.mean()), MeanLoss().set_dtype(torch.float64)
        means = [float(batch.mean()) for batch in (losses[:64], losses[64:])]
        epoch.update(torch.tensor(means, dtype=torch.float64), torch.tensor([64, 1]))
        errors.append(_error(float(epoch.compute()), truth))
        off.append(abs(sum(means) / len(means) / truth - 1))
    return _gallery(errors, sum(error > VISIBLE for error in off), 100 * max(errors), 100 * sum(off) / DRAWS)


def list_in_sequential(seed: int) -> dict[str, float]:
    """Pass a list to `nn.Sequential`, which takes layers; `right` and `wrong` are the shares of networks built."""
    generator, errors, shown = Generator().manual_seed(seed), [], 0
    for _ in range(DRAWS):
        sizes = torch.randint(1, 9, (3,), generator=generator).tolist()
        layers = [nn.Linear(sizes[0], sizes[1]), nn.Tanh(), nn.Linear(sizes[1], sizes[2])]
        x = torch.randn(4, sizes[0], generator=generator)
        errors.append(float((nn.Sequential(*layers)(x) - layers[2](torch.tanh(layers[0](x)))).detach().abs().max()))
        try:
            nn.Sequential(layers)  # type: ignore[call-overload]
        except TypeError:
            shown += 1
    return _gallery(errors, shown, 1.0, 1 - shown / DRAWS)


def log_path(seed: int) -> dict[str, float]:
    """Name log directories by `time.asctime()` instead of year, month, day and so on.

    A name with spaces is several words in a shell, Windows does not allow ':', and names should sort by time: `right`
    and `wrong` are the shares of pairs of directories whose names do.
    """
    generator, errors, shown, ordered = Generator().manual_seed(seed), [], 0, []
    for _ in range(DRAWS):
        earlier, later = sorted(torch.randint(*TIMES, (2,), generator=generator).tolist())
        names = [
            [f"logs/model-{write(time.gmtime(moment))}" for moment in (earlier, later)]
            for write in (_sortable, time.asctime)
        ]
        good, bad = ([_is_one_safe_word(name) for name in pair] for pair in names)
        in_order = [pair == sorted(pair) for pair in names]
        errors.append(float(not (all(good) and in_order[0])))
        shown += not any(bad)
        ordered.append(in_order)
    right, wrong = torch.tensor(ordered).double().mean(0).tolist()
    return _gallery(errors, shown, right, wrong)


def view_of_several_outputs(seed: int) -> dict[str, float]:
    """Apply `.view(-1)` to several outputs, which gives one long row that does not match the targets.

    `right` and `wrong` are the shares of batches whose loss can be computed.
    """
    generator, errors, shown = Generator().manual_seed(seed), [], 0
    for _ in range(DRAWS):
        batch, outputs = torch.randint(2, 9, (2,), generator=generator).tolist()
        z, y = _normal(generator, batch, outputs), _normal(generator, batch, outputs)
        errors.append(_error(float(F.mse_loss(z, y)), float((z - y).square().sum() / (batch * outputs))))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                F.mse_loss(z.view(-1), y)
        except RuntimeError:
            shown += 1
    return _gallery(errors, shown, 1.0, 1 - shown / DRAWS)


def leaked_selection(seed: int) -> dict[str, float]:
    """Select features of pure noise with the training labels only and, by mistake, with the test labels too.

    Of 1,000 features of 100 samples, half of them for testing, the 20 that separate the labels best are kept; the
    classifier is the nearest class mean. `right` and `wrong` are the accuracies on the test half, which should be ½.
    Source: Ambroise & McLachlan 2002.
    """
    generator, scores = Generator().manual_seed(seed), []
    for _ in range(DRAWS):
        x, y = _normal(generator, 100, 1000), torch.arange(100) % 2
        order = torch.randperm(100, generator=generator)
        train, test = order[:50], order[50:]
        scores.append([_noise_accuracy(x, y, chosen_on, train, test) for chosen_on in (train, order)])
    right, wrong = torch.tensor(scores).mean(0).tolist()
    return {"right": right, "wrong": wrong, "gain": wrong - right, "draws": float(DRAWS)}


def _gallery(errors: Sequence[float], shown: int, right: float, wrong: float) -> dict[str, float]:
    return {
        "error": max(errors),
        "draws": float(DRAWS),
        "counterexamples": float(shown),
        "right": right,
        "wrong": wrong,
    }


def _normal(generator: Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _error(value: float, truth: float) -> float:
    return abs(value - truth) / (1 + abs(truth))


def _r2(x: Tensor, y: Tensor, test_x: Tensor, test_y: Tensor) -> float:
    """Compute R² on (test_x, test_y) of the least-squares line through (x, y); all are (n,)."""
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    residual = test_y - (y.mean() + slope * (test_x - x.mean()))
    return float(1 - residual.square().sum() / (test_y - test_y.mean()).square().sum())


def _sortable(moment: time.struct_time) -> str:
    return time.strftime("%Y-%m-%dT%H-%M-%S", moment)


def _is_one_safe_word(name: str) -> bool:
    return len(shlex.split(f"tensorboard --logdir {name}")) == 3 and ":" not in name


def _noise_accuracy(x: Tensor, y: Tensor, chosen_on: Tensor, train: Tensor, test: Tensor) -> float:
    """Compute the accuracy on `test` of the nearest class mean of `train`, with 20 features selected on `chosen_on`."""
    apart = x[chosen_on][y[chosen_on] == 1].mean(0) - x[chosen_on][y[chosen_on] == 0].mean(0)
    kept = x[:, apart.abs().topk(20).indices]
    means = torch.stack([kept[train][y[train] == label].mean(0) for label in (0, 1)])
    predicted = torch.cdist(kept[test], means).argmin(1)
    return float((predicted == y[test]).double().mean())
