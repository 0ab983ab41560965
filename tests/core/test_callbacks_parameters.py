"""Parameters: every number of a small network at every step, from which the network can be built again."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from heard import rows_of

from experiments.core.callbacks import Parameters
from experiments.core.callbacks.parameters import MOST, parameter_names
from experiments.core.files import run_directory
from experiments.core.grid.conditions import Condition
from experiments.core.grid.runs import Run
from experiments.core.training import rebuild


def by_hand(module, data, size: int) -> list[dict[str, torch.Tensor]]:
    """The weights before each step of plain gradient descent and after the last."""
    weights = [{name: p.detach().clone() for name, p in module.network.named_parameters()}]
    for x, y in zip(*(part.split(size) for part in data), strict=True):
        loss = torch.nn.functional.cross_entropy(module(x), y)
        module.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter -= 0.1 * parameter.grad
        weights.append({name: p.detach().clone() for name, p in module.network.named_parameters()})
    return weights


def test_the_weights_before_recorded_steps_and_after_the_last(network, samples, train):
    module, data = network(hidden=[3]), samples(24)
    expected = by_hand(copy.deepcopy(module), data, size=8)
    rows = rows_of(train(module, data, Parameters(every_n_steps=2)))
    assert sorted({row.step for row in rows}) == [0, 2, 3]
    for step in (0, 2, 3):
        found = {row.name: row.value for row in rows if row.step == step}
        truth = [number for tensor in expected[step].values() for number in tensor.flatten().tolist()]
        assert [found[name] for name in parameter_names(module.network)] == pytest.approx(truth, rel=1e-9)


def test_names_tell_the_place_of_each_number(network):
    names = parameter_names(network(hidden=[3]).network)
    assert names[0] == "parameter/hidden.0.linear.weight/00"
    assert len(set(names)) == len(names) == 6 * 3 + 3 + 3 * 3 + 3


def test_a_network_too_large_to_be_drawn_is_refused(network, samples, train):
    with pytest.raises(ValueError, match=f"at most {MOST} parameters, not of"):
        train(network(), samples(8), Parameters())


CONFIG = """
seed_everything: 1003
model:
  class_path: {model}
data:
  class_path: Boolean
  init_args: {{function: xor, noise: 0.3, batch_size: 50}}
trainer:
  max_epochs: 1
  callbacks:
    - {{class_path: Parameters, init_args: {{every_n_steps: 4}}}}
    - {{class_path: BestWeights}}
"""


@pytest.mark.parametrize(
    "model",
    [
        "FullyConnected\n  init_args: {depth: 1, width: 4, activation: tanh, optimizer: sgd, lr: 0.1}",
        "LinearModel\n  init_args: {optimizer: sgd, lr: 0.1}",
        "LinearStack\n  init_args: {hidden: [3], optimizer: sgd, lr: 0.1}",
    ],
    ids=["tanh", "linear", "stack"],
)
def test_a_run_is_built_again_from_its_files(fit, here, result, model):
    (here / "one.yaml").write_text(CONFIG.format(model=model))
    directory: Path = fit("--config", here / "one.yaml")
    run = Run(Condition(()), 1003, directory, {}, result(directory))
    network = rebuild.network_of(run)
    recorded = rebuild.recorded_weights(run, network)
    assert list(recorded) == [0, 4, 6]
    kept = torch.load(directory / "checkpoints" / "best.ckpt", weights_only=True)
    prefix = "network."
    trained = {name.removeprefix(prefix): t for name, t in kept["state_dict"].items() if name.startswith(prefix)}
    assert recorded[6].keys() == trained.keys()
    for name, tensor in network.named_parameters():
        assert torch.equal(recorded[0][name], tensor)
        assert torch.equal(recorded[6][name], trained[name])
        assert not torch.equal(recorded[4][name], trained[name])
    data = rebuild.data_of(run)
    x, y = data.test
    network.load_state_dict(trained)
    assert torch.equal(rebuild.outputs_with(network, trained, x), network(x).detach())
    accuracy = (network(x).argmax(1) == y).double().mean().item()
    assert accuracy == pytest.approx(result(directory)["measures"]["test/accuracy"])


def test_the_dashboards_do_not_get_single_weights(fit, here):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    model = "LinearModel\n  init_args: {optimizer: sgd, lr: 0.1}"
    logger = 'logger: {class_path: TensorBoardLogger, init_args: {save_dir: ., name: "", version: ""}}'
    (here / "one.yaml").write_text(CONFIG.format(model=model).replace("  callbacks:", f"  {logger}\n  callbacks:", 1))
    directory = fit("--config", here / "one.yaml")
    assert any(
        name.startswith("parameter/") for _, _, name, _ in run_directory.read_metrics(directory / run_directory.METRICS)
    )
    events = EventAccumulator(str(directory)).Reload()
    assert any(tag.startswith("train/") for tag in events.Tags()["scalars"])
    assert not any("parameter/" in tag for tag in events.Tags()["scalars"])
    assert not math.isnan(events.Scalars("train/loss")[0].value)
