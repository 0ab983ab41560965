"""Resume files of others: numbers are taken from them, settings and places never; links lead nowhere."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning import Trainer
from one_fit import resolve, run_seed, run_stack

from experiments.core.files import checkpoints, run_directory
from experiments.core.files.checkpoints import LAST, PREVIOUS, CheckpointFiles
from experiments.core.files.errors import UserError
from experiments.core.training import resume, stacking
from experiments.core.training.fit import build_fit
from experiments.core.training.resume import ResumePoint

SEEDS = (1000, 1001)
CONFIG = """
seed_everything: 1000
model:
  class_path: FullyConnected
  init_args: {depth: 2, width: 6, optimizer: sgd, momentum: 0.9, lr: 0.1, schedule: cosine}
data:
  class_path: Digits
  init_args: {batch_size: 25, num_train: 100, num_val: 50, num_test: 50}
trainer:
  max_epochs: 4
  logger: false
  callbacks:
    - {class_path: GradientFlow, init_args: {every_n_steps: 2}}
    - {class_path: GradientClipping, init_args: {max_norm: 0.5}}
    - {class_path: Divergence}
    - {class_path: BestWeights}
    - class_path: ModelCheckpoint
      init_args: {dirpath: every, filename: epoch, monitor: val/loss, mode: min}
"""


class Cut(BaseException):
    """The power fails."""


@pytest.fixture
def args(here: Path) -> list[str]:
    (here / "base.yaml").write_text(CONFIG)
    return [f"--config={here / 'base.yaml'}"]


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Do some work, and cut it off after its sixth checkpoint."""

    def run(work: Callable[[], object]) -> None:
        save, left = ResumePoint._save_if_due, [6]

        def save_and_cut(self: ResumePoint, trainer: Trainer) -> None:
            save(self, trainer)
            left[0] -= 1
            if not left[0]:
                raise Cut

        with monkeypatch.context() as patch:
            patch.setattr(resume, "EVERY_SECONDS", 0.0)
            patch.setattr(ResumePoint, "_save_if_due", save_and_cut)
            with pytest.raises(Cut):
                work()

    return run


def numbers(directory: Path) -> tuple[bytes, Any, Any]:
    result = run_directory.read_result(directory)
    assert result is not None
    return (directory / run_directory.METRICS).read_bytes(), result["measures"], result["applied"]


@pytest.fixture
def precious(here: Path) -> Path:
    """A folder outside of every run."""
    folder = here / "precious"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "thesis.txt").write_text("years of work")
    (folder / "data.ckpt").write_text("of others")
    return folder


def untouched(folder: Path) -> bool:
    found = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    return found == {"deep/thesis.txt": "years of work", "data.ckpt": "of others"}


def craft(directory: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the last resume file, with a right checksum, and leave no other."""
    path = directory / run_directory.RESUME / LAST
    content = checkpoints.read(path)
    change(content)
    CheckpointFiles().save_checkpoint(content, path)
    (directory / run_directory.RESUME / PREVIOUS).unlink()


def part(content: dict[str, Any], name: str) -> dict[str, Any]:
    parts = content["callbacks"][ResumePoint.NAME]["parts"]
    (found,) = [state for key, state in parts.items() if key == name or key.endswith(f"/{name}")]
    return found


def lightnings(content: dict[str, Any]) -> dict[str, Any]:
    (found,) = [state for name, state in content["callbacks"].items() if name.startswith("ModelCheckpoint")]
    return found


# What is refused as a whole: the fit begins again, and says why in one line.
REFUSED: dict[str, Callable[[dict[str, Any], Path], object]] = {
    "folder of Lightning's checkpoints": lambda c, out: lightnings(c).update(dirpath=str(out)),
    "checkpoints that are to be deleted": lambda c, out: lightnings(c).update(
        best_k_models={str(out): torch.tensor(9.0)}, kth_best_model_path=str(out), kth_value=torch.tensor(9.0)
    ),
    "path from the current directory": lambda c, out: lightnings(c).update(kth_best_model_path=out.name),
    "path with dots": lambda c, out: lightnings(c).update(last_model_path=f"{out.parent}/cut/../{out.name}"),
    "best weights of others": lambda c, out: lightnings(c).update(best_model_path=str(out / "data.ckpt")),
    "folder of the best weights": lambda c, out: part(c, "BestWeights").update(dirpath=str(out)),
    "name of the best weights": lambda c, out: part(c, "BestWeights").update(filename=str(out / "data")),
    "directory of the run": lambda c, out: part(c, "run/0").update(directory=str(out)),
    "directory of the recorder": lambda c, out: part(c, "Recorder").update(runs=[str(out)]),
    "a setting": lambda c, _: part(c, "GradientClipping").update(max_norm=1e9),
    "a method": lambda c, _: part(c, "GradientFlow").update(flush="os.system"),
    "a name that no snapshot has": lambda c, _: part(c, "Divergence").update(unheard=1),
    "another type": lambda c, _: part(c, "Divergence").update(_step=[1]),
    "another callback": lambda c, out: c["callbacks"].update({"Timer": {"dirpath": str(out)}}),
    "a part that is missing": lambda c, _: c["callbacks"][ResumePoint.NAME]["parts"].pop("applied"),
    "an epoch beyond the end": lambda c, _: c["loops"]["fit_loop"]["epoch_progress"]["current"].update(completed=9),
    "a batch beyond the end": lambda c, _: c["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"].update(
        ready=10**6
    ),
    "a negative batch": lambda c, _: c["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"].update(ready=-1),
    "steps beyond the end": lambda c, _: c["loops"]["fit_loop"]["epoch_loop.automatic_optimization.optim_progress"][
        "optimizer"
    ]["step"]["total"].update(completed=10**9),
    "no loops": lambda c, _: c.pop("loops"),
    "another network": lambda c, _: c["state_dict"].update(more=torch.zeros(3)),
    "another version": lambda c, _: c.update({"pytorch-lightning_version": "1.0.0"}),
    "no random numbers": lambda c, _: c["callbacks"][ResumePoint.NAME].update(random=torch.zeros(2)),
}
# What is passed over: the config says it.
PASSED_OVER: dict[str, Callable[[dict[str, Any]], object]] = {
    "learning rate": lambda c: [group.update(lr=1e9) for group in c["optimizer_states"][0]["param_groups"]],
    "momentum": lambda c: [group.update(momentum=5.0) for group in c["optimizer_states"][0]["param_groups"]],
    "schedule": lambda c: c["lr_schedulers"][0].update(base_lrs=[1e9], T_max=1, eta_min=7.0, step="nothing"),
}


@pytest.fixture
def whole(here: Path, args: list[str]) -> tuple[bytes, Any, Any]:
    """What the run gives that nobody has cut off."""
    run_seed(args, 1000, here / "whole")
    return numbers(here / "whole")


def test_a_crafted_resume_file_changes_nothing_outside_and_no_number(here, args, cut, whole, precious, capsys):
    cut(lambda: run_seed(args, 1000, here / "made"))
    resume = here / "made" / run_directory.RESUME
    kept = {path.name: path.read_bytes() for path in resume.iterdir()}
    for index, (name, change) in enumerate(REFUSED.items()):
        directory = here / f"cut-{index}" / "run"
        (directory / run_directory.RESUME).mkdir(parents=True)
        for file, content in kept.items():
            (directory / run_directory.RESUME / file).write_bytes(content)
        # The run's own places, as if it had been cut off here.
        craft(directory, lambda c: _moved(c, here / "made", directory))  # noqa: B023
        (directory / run_directory.RESUME / PREVIOUS).write_bytes(b"")
        craft(directory, lambda c: change(c, precious))  # noqa: B023
        run_seed(args, 1000, directory)
        said = capsys.readouterr().err
        assert said.count("from the beginning") == 1, (name, said)
        assert untouched(precious), name
        assert numbers(directory) == whole, name


def _moved(content: dict[str, Any], old: Path, new: Path) -> None:
    state = lightnings(content)
    for name, value in state.items():
        if isinstance(value, str):
            state[name] = value.replace(str(old), str(new))
    state["best_k_models"] = {k.replace(str(old), str(new)): v for k, v in state["best_k_models"].items()}


@pytest.mark.parametrize("change", PASSED_OVER.values(), ids=PASSED_OVER)
def test_settings_of_optimiser_and_schedule_are_those_of_the_config(here, args, cut, whole, change, capsys):
    cut(lambda: run_seed(args, 1000, here / "cut"))
    craft(here / "cut", change)
    run_seed(args, 1000, here / "cut")
    assert "from the beginning" not in capsys.readouterr().err
    assert numbers(here / "cut") == whole


def test_the_resume_file_of_a_stack_is_read_in_the_same_way(here, cut, precious, capsys):
    config = yaml.safe_load(CONFIG)
    del config["trainer"]["callbacks"][-1]  # Lightning's own watches one run
    (here / "base.yaml").write_text(yaml.safe_dump(config))
    args = [f"--config={here / 'base.yaml'}"]
    whole, begun = ([here / kind / f"seed={seed}" for seed in SEEDS] for kind in ("whole", "cut"))
    run_stack(args, SEEDS, whole)
    cut(lambda: run_stack(args, SEEDS, begun))
    craft(begun[0], lambda c: part(c, "ends").update(checkpoints={str(precious / "data.ckpt"): {"a": 1}}))
    run_stack(args, SEEDS, begun)
    assert capsys.readouterr().err.count("from the beginning") == 1
    assert untouched(precious)
    assert [numbers(directory) for directory in begun] == [numbers(directory) for directory in whole]


def test_the_rate_of_a_plateau_is_one_that_the_config_can_have(here, args, cut):
    options = [*args, "--model.schedule=plateau", "--trainer.max_epochs=8"]
    run_seed(options, 1000, here / "whole")
    cut(lambda: run_seed(options, 1000, here / "cut"))
    kept = (here / "cut" / run_directory.RESUME / LAST).read_bytes()
    craft(here / "cut", lambda c: [g.update(lr=0.05) for g in c["optimizer_states"][0]["param_groups"]])
    with pytest.raises(ValueError, match=r"the schedule never has the learning rate 0\.05"):
        run_seed(options, 1000, here / "cut")
    (here / "cut" / run_directory.RESULT).unlink()
    (here / "cut" / run_directory.RESUME / LAST).write_bytes(kept)
    run_seed(options, 1000, here / "cut")
    assert numbers(here / "cut") == numbers(here / "whole")


@pytest.mark.parametrize("link", ["", "checkpoints", run_directory.METRICS, run_directory.RESUME, "every/epoch.ckpt"])
def test_a_run_follows_no_link_that_leads_out_of_it(here, args, precious, link):
    directory = here / "runs" / "tiny" / "base" / "seed=1000"
    place = directory / link
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(precious / "data.ckpt" if "." in link else precious)
    with pytest.raises(UserError, match="is a link that leads out of the run's directory: delete it"):
        run_seed(args, 1000, directory)
    with pytest.raises(UserError, match="is a link that leads out of the run's directory: delete it"):
        run_directory.empty(directory)
    assert untouched(precious)


ATTACKED = ["", "base", "base/seed=1000", "figures", "dashboard", "tuning", "wandb", "base/seed=1000/checkpoints"]


@pytest.mark.parametrize("link", [*ATTACKED, "results.csv", "run.log", "base/seed=1000/metrics.csv"])
@pytest.mark.parametrize("word", ["run", "report", "verify", "reference"])
def test_an_experiment_follows_no_link_that_leads_out_of_it(tiny, here, precious, link, word):
    place = here / "runs" / ("verify/tiny" if word == "verify" else "tiny") / link
    place.parent.mkdir(parents=True, exist_ok=True)
    # As if it were what lies there.
    place.symlink_to(precious / "data.ckpt" if "." in link else precious)
    answer = tiny.call(word, "tiny", "--logger=csv")
    assert answer.code == 2
    assert "is a link that leads out of the run's directory: delete it" in answer.err
    assert untouched(precious)


def test_a_directory_above_may_be_a_link_and_one_that_stays_inside_too(here, args):
    (here / "disk").mkdir()
    (here / "runs").symlink_to(here / "disk")
    directory = here / "runs" / "seed=1000"
    directory.mkdir()
    (directory / "inside").symlink_to(directory / "config.yaml")
    run_seed(args, 1000, directory)
    assert (here / "disk" / "seed=1000" / run_directory.RESULT).is_file()


@pytest.mark.parametrize("seeds", [(1000,), SEEDS], ids=["single", "stack"])
def test_after_a_fit_network_hooks_data_and_trainer_are_let_go(here, seeds):
    config = yaml.safe_load(CONFIG)
    del config["trainer"]["callbacks"][-1]
    (here / "base.yaml").write_text(yaml.safe_dump(config))
    directories = [here / f"seed={seed}" for seed in seeds]
    cli = build_fit(resolve([f"--config={here / 'base.yaml'}"]), seeds[0], directories[0])
    model, data = cli.model, cli.datamodule
    if len(seeds) > 1:
        model, data = cli.stack(seeds, directories)
    stacking.fit(cli.trainer, model, data)
    stacking.test_and_write_results(cli.trainer, model, data)
    parts = [model, model.network, data, cli.trainer, cli.trainer.optimizers[0], *cli.trainer.callbacks]
    watched = [weakref.ref(thing) for thing in parts]
    del cli, model, data, parts
    gc.collect()
    assert [type(thing()).__name__ for thing in watched if thing() is not None] == []
