"""The Lightning CLI for many runs of one condition: the same as `fit`, with the config files parsed once a process."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from lightning import Trainer, seed_everything
from lightning.pytorch.callbacks import Checkpoint

from experiments.core.callbacks.recorder import Recorder
from experiments.core.classes import find_class, module_for
from experiments.core.cli import CLI_SETTINGS, LectureCLI, one_line, quieten
from experiments.core.seed_trainer import Member
from experiments.core.stacking import fit_stack, refuse
from experiments.core.strict import check_request
from experiments.core.yaml_files import parse_value
from lightning_modules.stack import NotStackableError

QUIET = ("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false")


class ConditionCLI(LectureCLI):
    """Parses once, and then trains one run after another: parsing takes as long as training a small network."""

    def __init__(self, args: Sequence[str]) -> None:
        request = check_request("fit", args)
        LectureCLI.wanted, LectureCLI.checkpoint = "fit", None
        LectureCLI.asked = request.config.get("trainer") or {}
        self._parsed: Namespace | None = None
        super().__init__(args=[*args, *QUIET], run=False, parser_kwargs={"exit_on_error": False}, **CLI_SETTINGS)
        self._parsed, self._portable = self.config, super().portable_config()
        self.choose([])

    def before_instantiate_classes(self) -> None:
        """Build nothing while parsing."""
        if self._parsed is not None:
            super().before_instantiate_classes()

    def instantiate_classes(self) -> None:
        """Build nothing while parsing."""
        if self._parsed is not None:
            super().instantiate_classes()

    def choose(self, options: Sequence[str]) -> bool:
        """Lay `--section.name=value` over what was parsed, without parsing again.

        Returns:
            Whether that could be done: an option whose value is of another type than the one it replaces needs the
            parser.
        """
        assert self._parsed is not None
        self.config, self._chosen = self._parsed.clone(), copy.deepcopy(self._portable)
        for option in options:
            key, _, text = option.removeprefix("--").replace(".init_args.", ".").partition("=")
            section, _, name = key.partition(".")
            inner = () if section == "trainer" else ("init_args",)
            value = parse_value(text)
            for config in (self.config, self._chosen):
                place = functools.reduce(lambda part, word: part[word], inner, config[section])
                if name not in place or type(place[name]) is not type(value):
                    return False
                place[name] = value
        return True

    def portable_config(self) -> dict[str, Any]:
        """The config of the run that was trained last; only the seed is its own."""
        return {**self._chosen, "seed_everything": self.config.seed_everything}

    def build(self) -> None:
        """Build network, data module, callbacks and loggers once, which finds values out of range."""
        with one_line():
            self.parser.instantiate(self.config)

    def fit_seed(self, seed: int, directory: Path) -> None:
        """Do what `fit` does with this seed in this directory."""
        self.build_for(seed, directory)
        self.train(model=self.model, datamodule=self.datamodule)
        self.after_fit()

    def build_for(self, seed: int, directory: Path) -> None:
        """Build all that `fit_seed` needs."""
        self._give(self.config, seed, directory)
        self.instantiate_classes()

    def fit_stack(self, seeds: Sequence[int], directories: Sequence[Path]) -> None:
        """Do it with several seeds in one fit.

        Raises:
            NotStackableError: that cannot be done; nothing was written.
        """
        fit_stack(*self.build_stack(seeds, directories))

    def build_stack(self, seeds: Sequence[int], directories: Sequence[Path]) -> tuple[Trainer, list[Member]]:
        """Build all that `fit_stack` needs.

        Raises:
            NotStackableError: the seeds cannot be trained in one fit.
        """
        asked = self.config
        self.build_for(seeds[0], directories[0])
        trainer = self.trainer
        refuse(trainer, self.model)
        first = Member(trainer.callbacks, trainer.loggers, self.model, self.datamodule, directories[0])  # type: ignore[attr-defined]
        members = [first]
        for seed, directory in zip(seeds[1:], directories[1:], strict=True):
            self._give(asked, seed, directory)
            members.append(self._member(directory))
        return trainer, members

    def _give(self, asked: Namespace, seed: int, directory: Path) -> None:
        """Ask for the same with this seed in this directory."""
        config = self.config = asked.clone()
        config.seed_everything = config.model.init_args.seed = config.data.init_args.seed = seed
        config.trainer.default_root_dir = str(directory)
        seed_everything(seed, workers=True, verbose=False)
        self.before_instantiate_classes()

    def _member(self, directory: Path) -> Member:
        """Build what another seed needs besides the trainer; the parser, which is slow, has seen it all before."""
        config = self.config
        data = _build("data", config.data)
        data.prepare_data()
        data.setup("fit")
        module = module_for(data, config.model.class_path, vars(config.model.init_args))
        callbacks = [_build("callback", part) for part in config.trainer.callbacks or []]
        callbacks.append(Recorder(self.parser, config, **self.save_config_kwargs))
        # As the trainer orders them.
        callbacks.sort(key=lambda callback: isinstance(callback, Checkpoint))
        loggers = config.trainer.logger or []
        loggers = [_build("logger", part) for part in (loggers if isinstance(loggers, list) else [loggers])]
        return Member(callbacks, loggers, module, data, directory)


def _build(kind: str, part: Namespace) -> Any:
    arguments = part.get("init_args")
    return find_class(kind, part.class_path)(**(vars(arguments) if arguments else {}))


def condition(args: Sequence[str]) -> ConditionCLI:
    """Return the parsed config of one condition; a process parses the same files once.

    Args:
        args: the command line after `fit`, each option in one word; `--config=FILE` first.

    Raises:
        UserError: something asked for is wrong.
    """
    quieten()
    files = [word for word in args if word.startswith("--config=")]
    contents = tuple(Path(word.partition("=")[2]).read_text(encoding="utf-8") for word in files)
    parsed = _parse_once(tuple(files), contents)
    if not parsed.choose([word for word in args if word not in files]):
        parsed = _parse_once(tuple(args), contents)
        parsed.choose([])
    return parsed


@functools.lru_cache(maxsize=16)
def _parse_once(args: tuple[str, ...], contents: tuple[str, ...]) -> ConditionCLI:
    del contents  # they are what the files held when they were parsed
    return ConditionCLI(args)


def run_seed(args: Sequence[str], seed: int, directory: Path) -> None:
    """Train one run of a condition; what it leaves is what `run_cli("fit", …)` would leave.

    Args:
        args: see `condition`; without seed and directory.
        seed: of the run.
        directory: of the run.
    """
    torch.set_num_threads(1)
    condition(args).fit_seed(seed, directory)


def run_stack(args: Sequence[str], seeds: Sequence[int], directories: Sequence[Path]) -> str:
    """Train several runs of a condition in one fit; each leaves what `run_seed` would leave, up to rounding.

    Args:
        args: see `condition`; without seed and directory.
        seeds: of the runs.
        directories: of the runs.

    Returns:
        Why it cannot be done, and was not; an empty text if it was.
    """
    torch.set_num_threads(1)
    try:
        condition(args).fit_stack(seeds, directories)
    except NotStackableError as error:
        return str(error)
    return ""
