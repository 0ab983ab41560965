"""One strict pass over the YAML and the command line, before the Lightning CLI sees them.

The Lightning CLI accepts several mistakes without a word (an abbreviated option, a size that a link overwrites, an
epoch count of zero) and reports the others in fifty lines. This pass reads the same files and options, and answers each
mistake in one line that names the nearest valid thing.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning import Trainer

from experiments.core.callbacks import GradientClipping
from experiments.core.classes import KNOWN_CLASSES, check_trusted, find_class, known_names, parameters_of
from experiments.core.errors import UserError, nearest
from experiments.core.yaml_files import load_yaml, merge, parse_value

# Linked by the Lightning CLI; a value given by hand would be accepted and overwritten.
LINKED = {
    "model": {
        **dict.fromkeys(("num_features", "sample_shape", "num_classes"), "the data set"),
        "seed": "seed_everything",
    },
    "data": {"seed": "seed_everything"},
}
TRAINER_MINIMUM = {
    "max_epochs": 1,
    "max_steps": 1,
    "check_val_every_n_epoch": 1,
    "accumulate_grad_batches": 1,
    "limit_val_batches": 0,
    "limit_test_batches": 0,
    "log_every_n_steps": 1,
}
# May be given as an object, a name of Lightning's, or the path of a class.
TRAINER_CLASSES = ("accelerator", "plugins", "profiler", "strategy")
TRAINER_POSITIVE = ("limit_train_batches", "gradient_clip_val")
FLAGS = ("--print_config", "--help", "-h")


@dataclass(frozen=True)
class Request:
    """What a command line asks for: its files laid over each other, then its options."""

    config: dict[str, Any]
    files: tuple[Path, ...]
    # Kind and name of each class that `--KIND.help NAME` asks about.
    described: tuple[tuple[str, str], ...] = ()

    @property
    def checkpoint(self) -> Path | None:
        """The checkpoint to begin from, or to evaluate."""
        path = self.config.get("ckpt_path")
        return None if path is None else Path(str(path))


def check_request(subcommand: str, args: Sequence[str]) -> Request:
    """Read the files and options of a Lightning CLI call and refuse every mistake that can be seen before training.

    Args:
        subcommand: fit, validate, test or predict.
        args: the command line after the subcommand.

    Raises:
        UserError: the first mistake found.
    """
    method = inspect.signature(getattr(Trainer, subcommand)).parameters
    top_level = {"seed_everything", "trainer", "model", "data"} | (
        set(method) & {"ckpt_path", "weights_only", "verbose", "return_predictions"}
    )
    config: dict[str, Any] = {}
    files: list[Path] = []
    seen: set[str] = set()
    options: list[tuple[str, str]] = []
    for name, value in _options(args):
        if name in ("--config", "-c"):
            files.append(Path(value))
            content = load_yaml(Path(value))
            for key in content:
                if key not in top_level:
                    raise UserError(f"config file '{value}': unknown key '{key}'; {nearest(key, top_level)}")
            config = merge(config, content)
        elif name not in FLAGS:
            # The parser takes `--model.depth` for `--model.init_args.depth`.
            key = name.replace(".init_args.", ".")
            if key in seen and not name.endswith("+"):
                raise UserError(f"option {name} is given twice")
            seen.add(key)
            options.append((name, value))
    for name, value in options:
        _apply_option(config, name, value, top_level)
    help_wanted = any(arg in ("--help", "-h") or ".help" in arg for arg in args)
    # `--print_config` alone prints a config to fill in.
    template_wanted = "--print_config" in args and not config
    if not help_wanted and not template_wanted:
        _check_config(config)
    asked_about = ((name[2 : -len(".help")], value) for name, value in options if name.endswith(".help"))
    return Request(
        config, tuple(files), tuple((kind, name) for kind, name in asked_about if kind in KNOWN_CLASSES and name)
    )


def _options(args: Sequence[str]) -> Iterator[tuple[str, str]]:
    queue = list(args)
    while queue:
        token = queue.pop(0)
        if not token.startswith("-"):
            raise UserError(f"'{token}' is not an option; options begin with --")
        name, equals, value = token.partition("=")
        takes_next = ".help" not in name or (queue and not queue[0].startswith("-"))
        if not equals and name not in FLAGS and takes_next:
            if not queue:
                raise UserError(f"option {name} has no value")
            value = queue.pop(0)
        yield name, value


def _apply_option(config: dict[str, Any], name: str, value: str, top_level: set[str]) -> None:
    """Lay one option over the config, as far as the checks need it: nested class arguments are left to the parser."""
    if not name.startswith("--"):
        raise UserError(f"unknown option '{name}'; options begin with --")
    words = name[2:].rstrip("+").split(".")
    valid = {*top_level, "config", "print_config", "help"}
    if words[0] not in valid:
        everything = [*valid, *(f"trainer.{p}" for p in parameters_of(Trainer))]
        raise UserError(f"unknown option '{name}'; {nearest(name[2:], everything)}")
    if words[-1] == "help":
        kind = {"callbacks": "callback"}.get(words[-2], words[-2])
        if value and kind in KNOWN_CLASSES:
            find_class(kind, value)
        check_trusted(value)
        return
    if words[-1] == "class_path":
        check_trusted(value)
    if len(words) > 3:
        return
    parsed = parse_value(value)
    if len(words) == 1:
        config[words[0]] = parsed
        return
    if words[0] == "trainer":
        section = config["trainer"] = _as_block("trainer", config.get("trainer"))
        if len(words) == 2 and name.endswith("+"):
            section[words[1]] = [*_as_list(section.get(words[1])), *_as_list(parsed)]
        elif len(words) == 2:
            section[words[1]] = parsed
        elif words[1] not in parameters_of(Trainer):
            raise UserError(f"unknown option '{name}'; {nearest(words[1], parameters_of(Trainer))}")
        return
    section = config[words[0]] = _class_block(words[0], config.get(words[0]))
    if words[1] == "class_path":
        section["class_path"] = value
    elif len(words) == 2 or words[1] == "init_args":
        section["init_args"] = {**_as_block(f"{words[0]}.init_args", section.get("init_args")), words[-1]: parsed}
    else:
        raise UserError(f"unknown option '{name}'; a class argument is {words[0]}.NAME")


def _check_config(config: Mapping[str, Any]) -> None:
    seed = config.get("seed_everything")
    if not config:
        raise UserError("nothing to do without a config: --config FILE")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise UserError(f"seed_everything must be a whole number >= 0, for example 1000; it is {seed!r}")
    for kind in ("model", "data"):
        section = config.get(kind)
        if section is None:
            raise UserError(f"the config names no {kind}; valid: {', '.join(known_names(kind))}")
        check_class(kind, section, key=kind)
    _check_trainer(_as_block("trainer", config.get("trainer")))
    _check_paths(config)
    checkpoint = config.get("ckpt_path")
    if checkpoint is not None and not Path(str(checkpoint)).is_file():
        siblings = [str(path) for path in Path(str(checkpoint)).parent.glob("*.ckpt")]
        hint = f"; {nearest(str(checkpoint), siblings)}" if siblings else ""
        raise UserError(f"ckpt_path '{checkpoint}' does not exist{hint}")


def _check_trainer(trainer: Mapping[str, Any]) -> None:
    for key, value in trainer.items():
        if key not in parameters_of(Trainer):
            raise UserError(f"unknown key 'trainer.{key}'; {nearest(key, parameters_of(Trainer))}")
        if key in TRAINER_CLASSES and isinstance(value, str):
            check_trusted(value)
        if not isinstance(value, int | float):
            continue
        if key == "devices" and value > 1:
            raise UserError(f"trainer.devices must be 1: data in memory feed one device; it is {value}")
        minimum = TRAINER_MINIMUM.get(key)
        unlimited = key in ("max_steps", "max_epochs") and value == -1
        if minimum is not None and value < minimum and not unlimited:
            raise UserError(f"trainer.{key} must be at least {minimum}; it is {value}")
        if key in TRAINER_POSITIVE and value <= 0:
            raise UserError(f"trainer.{key} must be greater than 0; it is {value}")
    for index, callback in enumerate(_as_list(trainer.get("callbacks"))):
        cls = check_class("callback", callback, key=f"trainer.callbacks[{index}]")
        if issubclass(cls, GradientClipping) and trainer.get("gradient_clip_val") is not None:
            raise UserError("GradientClipping and trainer.gradient_clip_val both clip the gradient: give one of them")
    for logger in _as_list(trainer.get("logger")):
        if not isinstance(logger, bool):
            check_class("logger", logger, key="trainer.logger")


def _check_paths(value: Any) -> None:
    """Look at class paths at any depth."""
    for item in value if isinstance(value, list) else []:
        _check_paths(item)
    for key, item in value.items() if isinstance(value, Mapping) else []:
        if key == "class_path":
            check_trusted(str(item))
        _check_paths(item)


def check_class(kind: str, section: Any, key: str) -> type:
    """Check a `class_path` / `init_args` block: a known or trusted class, and only arguments it has."""
    section = _class_block(key, section)
    if "class_path" not in section:
        raise UserError(f"{key} needs a class_path; valid: {', '.join(known_names(kind))}")
    for word in section:
        if word not in ("class_path", "init_args"):
            raise UserError(f"unknown key '{key}.{word}'; {nearest(word, ['class_path', 'init_args'])}")
    cls = find_class(kind, str(section["class_path"]))
    arguments = _as_block(f"{key}.init_args", section.get("init_args"))
    valid = parameters_of(cls)
    for name in arguments:
        source = LINKED.get(kind, {}).get(name)
        if source:
            raise UserError(f"{key}.{name} is not set by hand: it comes from {source}")
        if valid and name not in valid:
            settable = valid - set(LINKED.get(kind, {}))
            raise UserError(f"unknown key '{key}.{name}' of {cls.__name__}; {nearest(name, settable)}")
    return cls


def argument_names(section: str, config: Mapping[str, Any]) -> set[str]:
    """Names that a config's model, data or trainer takes."""
    return parameters_of(Trainer if section == "trainer" else find_class(section, str(config[section]["class_path"])))


def _class_block(key: str, value: Any) -> dict[str, Any]:
    """A class and its arguments as a mapping; a class may be given by its name alone."""
    return _as_block(key, {"class_path": value} if isinstance(value, str) else value)


def _as_block(key: str, value: Any) -> dict[str, Any]:
    if value is not None and not isinstance(value, Mapping):
        raise UserError(f"{key} must be a mapping of keys to values; it is {value!r}")
    return dict(value or {})


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]
