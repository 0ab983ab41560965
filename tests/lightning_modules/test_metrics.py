"""Every metric against scikit-learn, through real fits whose last batch is smaller; metrics of one's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
import yaml
from sklearn.metrics import (
    accuracy_score,
    cohen_kappa_score,
    f1_score,
    mean_absolute_error,
    r2_score,
    recall_score,
)
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassCohenKappa

from datamodules import Digits
from experiments.core.files import run_directory
from lightning_modules import FullyConnected, LinearModel
from lightning_modules.losses import build_loss
from lightning_modules.metrics import (
    DEFAULT_METRICS,
    METRICS,
    EpochOutputs,
    MeanLoss,
    MeanPenalty,
    build_metrics,
    collection,
    compute_per_network,
)

Fit = Callable[..., lightning.Trainer]
Truth = Callable[[Tensor, Tensor], float]
SAMPLES, BATCH, FEATURES, OUTPUTS = 43, 10, 5, 4


def calibration_error(outputs: Tensor, labels: Tensor) -> float:
    """Guo et al. 2017, equation 3, with 15 bins, by a loop."""
    sure, predicted = (values.numpy() for values in outputs.softmax(1).max(1))
    right, error = predicted == labels.numpy(), 0.0
    for low in range(15):
        inside = (sure >= low / 15) & (sure < (low + 1) / 15)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - sure[inside].mean())
    return error


def of_classes(score: Callable[..., float], **options: Any) -> Truth:
    return lambda outputs, targets: score(targets.numpy(), outputs.argmax(1).numpy(), **options)


def of_labels(score: Callable[..., float], **options: Any) -> Truth:
    return lambda outputs, targets: score(targets.numpy(), (outputs > 0).numpy(), **options)


TRUTHS: dict[str, dict[str, Truth]] = {
    "classes": {
        "accuracy": of_classes(accuracy_score),
        "macro_accuracy": of_classes(recall_score, average="macro", zero_division=0),
        "macro_f1": of_classes(f1_score, average="macro", zero_division=0),
        "micro_f1": of_classes(f1_score, average="micro"),
        "calibration_error": calibration_error,
    },
    "labels": {
        "exact_match": of_labels(accuracy_score),
        "micro_f1": of_labels(f1_score, average="micro", zero_division=0),
        "macro_f1": of_labels(f1_score, average="macro", zero_division=0),
        "label_accuracy": lambda outputs, targets: float(((outputs > 0) == (targets == 1)).double().mean()),
    },
    "numbers": {
        "r2": lambda outputs, targets: r2_score(targets, outputs),
        "mean_absolute_error": lambda outputs, targets: mean_absolute_error(targets, outputs),
    },
}
LOSS = {"classes": "cross_entropy", "labels": "bce", "numbers": "mse"}


def data(kind: str, seed: int, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    inputs = scale * torch.randn(SAMPLES, FEATURES, generator=g)
    if kind == "classes":
        return inputs, torch.randint(OUTPUTS, (SAMPLES,), generator=g)
    if kind == "labels":
        return inputs, torch.randint(2, (SAMPLES, OUTPUTS), generator=g).float()
    return inputs, 20 + inputs[:, :OUTPUTS] + torch.randn(SAMPLES, OUTPUTS, generator=g)


def loader(pair: tuple[Tensor, Tensor]) -> Any:
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*pair), batch_size=BATCH)


class Outputs(lightning.Callback):
    """The outputs of each stage's last epoch, in the order of its samples."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.kept: dict[str, list[Tensor]] = {"train": [], "val": []}
        network.register_forward_hook(self.keep)

    def keep(self, network: torch.nn.Module, inputs: Any, outputs: Tensor) -> None:
        self.kept["train" if network.training else "val"].append(outputs.detach())

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self.kept = {"train": [], "val": []}

    def of(self, stage: str) -> Tensor:
        return torch.cat(self.kept[stage]).double()


def test_every_metric_has_a_truth() -> None:
    assert {kind: set(found) for kind, found in TRUTHS.items()} == {kind: set(found) for kind, found in METRICS.items()}
    assert all(name in METRICS[kind] for kind, names in DEFAULT_METRICS.items() for name in names)


# Of inputs of 0, all scores are the biases and lie between 0 and 1, where they could be taken for probabilities.
@pytest.mark.parametrize("scale", [1.0, 0.0])
@pytest.mark.parametrize("kind", METRICS)
def test_every_metric_of_a_fit_is_scikit_learns(kind: str, scale: float, trainer: Fit) -> None:
    model = FullyConnected(
        num_features=FEATURES, num_classes=OUTPUTS, depth=1, width=8, seed=0, lr=0.01, loss=LOSS[kind],
        metrics=list(METRICS[kind]), output_gain=4.0,
    )  # fmt: skip
    parts = {"train": data(kind, 1, scale), "val": data(kind, 2, scale)}
    outputs = Outputs(model.network)
    run = trainer(max_epochs=2, callbacks=[outputs], num_sanity_val_steps=0)
    run.fit(model, loader(parts["train"]), loader(parts["val"]))
    logged = {name: value.item() for name, value in run.callback_metrics.items()}
    for stage, (_, targets) in parts.items():
        own = outputs.of(stage)
        assert len(own) == SAMPLES
        for name, truth in TRUTHS[kind].items():
            assert logged.pop(f"{stage}/{name}") == pytest.approx(truth(own, targets), abs=1e-6), (stage, name)
    assert set(logged) == {"train/loss", "val/loss", "lr"}


def test_macro_and_micro_scores_differ() -> None:
    # The truths of different names are different numbers, so that none can stand for another.
    inputs, targets = data("classes", 3)
    values = [truth(inputs[:, :OUTPUTS], targets) for name, truth in TRUTHS["classes"].items() if name != "micro_f1"]
    assert len({round(value, 6) for value in values}) == len(values)


@pytest.mark.parametrize("kind", METRICS)
def test_a_loss_that_is_not_finite_stays_in_the_mean(kind: str, trainer: Fit) -> None:
    model = LinearModel(num_features=FEATURES, num_classes=OUTPUTS, seed=0, loss=LOSS[kind], metrics=[*METRICS[kind]])
    inputs, targets = data(kind, 1)
    # In the last batch alone, which is the smallest.
    inputs[-1] = math.nan
    run = trainer(max_epochs=1)
    run.fit(model, loader((inputs, targets)))
    assert math.isnan(run.callback_metrics["train/loss"].item())
    (tested,) = trainer().test(model, loader((torch.full_like(inputs, math.nan), targets)), verbose=False)
    assert math.isnan(tested["test/loss"])


def test_an_infinite_loss_stays_infinite() -> None:
    kept = EpochOutputs()
    for loss in (1.0, math.inf):
        kept.add(torch.tensor(loss), torch.zeros(2, 1), torch.zeros(2, 1))
    columns = kept.metric_inputs(lambda outputs: outputs)
    mean = MeanLoss()
    mean.update(columns["losses"], columns["sizes"])
    assert mean.compute().item() == math.inf


@pytest.mark.parametrize("kind", METRICS)
def test_of_several_networks_each_is_counted_alone(kind: str) -> None:
    parts = [data(kind, seed) for seed in (1, 3)]
    inputs, targets = (torch.stack(part) for part in zip(*parts, strict=True))
    loss, kept, alone = build_loss(LOSS[kind]), EpochOutputs(), [EpochOutputs(), EpochOutputs()]
    for rows in (slice(0, 30), slice(30, SAMPLES)):
        own, wanted = inputs[:, rows, :OUTPUTS], targets[:, rows]
        losses = torch.stack([loss.mean(one, y) for one, y in zip(own, wanted, strict=True)])
        kept.add(losses, own, wanted, losses / 2)
        for index, epoch in enumerate(alone):
            epoch.add(losses[index], own[index], wanted[index], losses[index] / 2)
    chosen = {"loss": MeanLoss(), "penalty": MeanPenalty(), **build_metrics(kind, OUTPUTS, [*METRICS[kind]])}
    metrics = collection("val", chosen)
    found = compute_per_network(metrics, kept.metric_inputs(loss.predict))
    for index, epoch in enumerate(alone):
        metrics.reset()
        metrics.update(**epoch.metric_inputs(loss.predict))
        assert metrics.compute() == {name: value[index] for name, value in found.items()}
    assert all(value[0] != value[1] for value in found.values())


@pytest.mark.parametrize(
    ("kind", "names", "message"),
    [
        ("classes", ["acuracy"], r"unknown metric of classes 'acuracy': did you mean 'accuracy'\?"),
        ("labels", ["accuracy"], r"unknown metric of labels 'accuracy'.* valid: exact_match, micro_f1, macro_f1"),
        ("numbers", ["r2", "r2"], r"metrics must differ from each other, not \['r2', 'r2'\]"),
    ],
)
def test_bad_names(kind: str, names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_metrics(kind, 3, names)


def test_no_metric_is_possible() -> None:
    assert build_metrics("classes", 3, []) == {}


class LongestOutput(Metric):
    """A metric from scratch, of the outputs as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.add_state("longest", torch.tensor(0.0), dist_reduce_fx="max")

    def update(self, outputs: Tensor) -> None:
        self.longest = torch.maximum(self.longest, outputs.norm(dim=1).max())

    def compute(self) -> Tensor:
        return self.longest


class WithKappa(FullyConnected):
    def configure_metrics(self) -> dict[str, Metric]:
        return {**super().configure_metrics(), "kappa": MulticlassCohenKappa(OUTPUTS), "longest": LongestOutput()}


def test_a_module_of_ones_own_adds_a_metric_in_one_line(trainer: Fit) -> None:
    model = WithKappa(num_features=FEATURES, num_classes=OUTPUTS, depth=1, width=8, seed=0)
    train, val = data("classes", 1), data("classes", 2)
    outputs = Outputs(model.network)
    run = trainer(max_epochs=2, callbacks=[outputs], num_sanity_val_steps=0)
    run.fit(model, loader(train), loader(val))
    assert {f"{stage}/{name}" for stage in ("train", "val") for name in ("loss", "accuracy", "kappa", "longest")} | {
        "lr"
    } == set(run.callback_metrics)
    for stage, (_, labels) in {"train": train, "val": val}.items():
        own = outputs.of(stage)
        kappa = cohen_kappa_score(labels, own.argmax(1))
        assert run.callback_metrics[f"{stage}/kappa"].item() == pytest.approx(kappa, abs=1e-6)
        longest = run.callback_metrics[f"{stage}/longest"].item()
        assert longest == pytest.approx(own.norm(dim=1).max().item(), rel=1e-6)


def test_a_config_adds_a_metric(fit: Callable[..., Path], base_yaml: Path, result: Any) -> None:
    directory = fit("--config", base_yaml, "--model.metrics", "[accuracy, calibration_error]")
    measures = result(directory)["measures"]
    rows = run_directory.read_metrics(directory / run_directory.METRICS)
    for stage in ("train", "val", "test"):
        assert 0 <= measures[f"{stage}/accuracy"] <= 1
        assert 0 <= measures[f"{stage}/calibration_error"] <= 1
    assert {f"{stage}/{name}" for stage in ("train", "val") for name in ("accuracy", "calibration_error")} <= {
        name for _, _, name, _ in rows
    }
    # The kept weights count themselves as the run did.
    stored = yaml.safe_load((directory / "config.yaml").read_text())
    assert stored["model"]["init_args"]["metrics"] == ["accuracy", "calibration_error"]
    data = Digits(**{**stored["data"]["init_args"], "seed": stored["seed_everything"]})
    loaded = FullyConnected.load_from_checkpoint(directory / "checkpoints" / "best.ckpt", weights_only=True)
    (tested,) = lightning.Trainer(logger=False, enable_progress_bar=False).test(loaded, data, verbose=False)
    assert tested == {name: pytest.approx(measures[name], rel=1e-5) for name in tested}
    assert "test/calibration_error" in tested


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ("[accuracy, r2]", "unknown metric of classes 'r2'"),
        ("[accuracy, accuracy]", "metrics must differ from each other"),
        ("accuracy", "metrics"),
    ],
)
def test_a_config_with_a_metric_that_does_not_exist_is_one_line(
    metrics: str, message: str, command: Callable[..., Any], base_yaml: Path
) -> None:
    answer = command("fit", "--config", base_yaml, "--model.metrics", metrics)
    assert answer.code == 2
    assert message in answer.err
    assert answer.err.count("\n") == 1
    assert answer.out == ""


def test_metrics_are_no_part_of_the_weights() -> None:
    model = FullyConnected(num_features=FEATURES, num_classes=OUTPUTS, depth=1, width=8, seed=0)
    assert all(name.startswith("network.") for name in model.state_dict())


def test_names_lead_with_the_stage() -> None:
    found = collection("val", build_metrics("classes", 3, ["macro_f1"]))
    found.update(preds=torch.eye(3), target=torch.arange(3))
    assert {name: value.item() for name, value in found.compute().items()} == {"val/macro_f1": 1.0}
