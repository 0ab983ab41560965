"""Reads the command line behind `fit`, `validate`, `test` and `predict`: files and options, laid over each other."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning import Trainer
from lightning.pytorch.callbacks import Checkpoint

from experiments.core.files.errors import UserError, nearest, require_file
from experiments.core.files.yaml import as_list, load_yaml, merge, parse_value
from experiments.core.grid import catalogue
from experiments.core.training import allow_list
from experiments.core.training.classes import KNOWN_CLASSES, defaults_of, find_class
from experiments.core.training.config import (
    CHECKPOINT,
    KINDS,
    SECTIONS,
    TOP_LEVEL,
    as_block,
    as_mapping,
    has_callback,
    suggest_section,
    validate_config,
    validate_parts,
    with_defaults,
)

THREADS = "--threads"
FLAGS = ("--print_config", "--help", "-h")
# Options that are not part of the config.
OURS = (catalogue.ALLOW_IMPORT, THREADS)
CONFIG = ("--config", "-c")


@dataclass(frozen=True)
class Command:
    """A command line after its subcommand, read and validated."""

    config: dict[str, Any]
    files: tuple[Path, ...]
    # To start from, or to evaluate.
    checkpoint: Path | None
    # The options that ask for help, and kind and name of each class of a `--KIND.help NAME`.
    help: tuple[str, ...]
    described: tuple[tuple[str, str], ...]
    print_config: bool
    # Threads that torch uses within one operation.
    threads: int = 1


def read_command(args: Sequence[str], *, fits: bool = True) -> Command:
    """Read the files and options behind a subcommand of the Lightning CLI.

    Args:
        args: the command line after the subcommand.
        fits: whether the subcommand trains.

    Raises:
        UserError: the first mistake found.
    """
    options = list(_options(args))
    _validate_order(options)
    for _, value in [option for option in options if option[0] == catalogue.ALLOW_IMPORT]:
        allow_list.allow(value)
    files = tuple(Path(value) for name, value in options if name in CONFIG)
    helping = [(name, value) for name, value in options if name in ("--help", "-h") or name.endswith(".help")]
    printing = any(name == "--print_config" for name, _ in options)
    kinds = [(KINDS.get(word := name[2:].split(".")[-2], word), value) for name, value in helping if "." in name]
    described = tuple((kind, name) for kind, name in kinds if kind in KNOWN_CLASSES and name)
    for kind, name in kinds:
        if kind in KNOWN_CLASSES and name:
            find_class(kind, name)
        elif "." in name:
            allow_list.validate_allowed(name)
    config: dict[str, Any] = {}
    # Arguments of model and data classes that a later file or option has replaced.
    dropped: dict[str, dict[str, Any]] = {"model": {}, "data": {}}
    for file in files:
        content = load_yaml(file)
        for key in content:
            if key not in TOP_LEVEL:
                hint = suggest_section(key, {**config, **content}) or nearest(key, TOP_LEVEL)
                raise UserError(f"config file '{file}': unknown key '{key}'; {hint}")
        _note_dropped(dropped, config, content)
        config = merge(config, content)
        # Validate each file: a later one may replace a wrong list.
        validate_parts(config)
    if config:
        config = with_defaults(config)
    for name, value in options:
        if name not in (*FLAGS, *CONFIG, *OURS) and not name.endswith(".help"):
            below = copy.deepcopy(config)
            set_option(config, name, parse_value(value))
            _note_dropped(dropped, below, config)
            if name == "--trainer.callbacks+":
                _drop_added_checkpoint(config["trainer"])
    checkpoint = config.pop("ckpt_path", None)
    if not helping and not (printing and not config):
        validate_config(config, fits=fits)
        _validate_dropped(config, dropped)
        if checkpoint is not None:
            require_file(Path(str(checkpoint)), "ckpt_path", ".ckpt")
    words = tuple(word for name, value in helping for word in ([name, value] if value else [name]))
    path = None if checkpoint is None else Path(str(checkpoint))
    threads = [_count(THREADS, value) for name, value in options if name == THREADS]
    return Command(config, files, path, words, described, printing, *threads)


def _count(option: str, text: str) -> int:
    if not (text.isdecimal() and int(text) > 0):
        raise UserError(f"{option} must be a whole number of at least 1; it is '{text}'")
    return int(text)


def _options(args: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each option with its value; the value of a flag is empty."""
    queue = list(args)
    while queue:
        token = queue.pop(0)
        if not token.startswith("-"):
            raise UserError(f"'{token}' is not an option; options begin with --")
        name, equals, value = token.partition("=")
        takes_next = not name.endswith(".help") or (queue and not queue[0].startswith("-"))
        if not equals and name not in FLAGS and takes_next:
            if not queue:
                raise UserError(f"option {name} has no value")
            value = queue.pop(0)
        if equals and name in FLAGS:
            raise UserError(f"option {name} takes no value")
        yield name, value


def _validate_order(options: Sequence[tuple[str, str]]) -> None:
    """Require files before options, and each option at most once."""
    seen: dict[str, str] = {}
    for name, value in options:
        if name in CONFIG:
            first = next((option for option in seen.values() if option not in OURS), None)
            if first:
                raise UserError(f"option {first} stands before {name} {value}, which would override it: put it after")
        elif name not in FLAGS:
            key = name.replace(".init_args.", ".")
            if key in seen and not name.endswith("+"):
                raise UserError(f"option {name} is given twice")
            seen[key] = name


def set_option(config: dict[str, Any], option: str, value: Any) -> None:
    """Set an option in a config, in place: `--model.depth` sets the argument `depth` of the model class.

    Args:
        config: a whole config.
        option: `--section.name`; a `+` at its end appends the value to a list.
        value: of any YAML type.

    Raises:
        UserError: the option does not exist, or cannot have this value.
    """
    if not option.startswith("--"):
        raise UserError(f"unknown option '{option}'; options begin with --")
    section, *names = option[2:].rstrip("+").split(".")
    if section not in TOP_LEVEL:
        known = ["config", "print_config", "help", *(name[2:] for name in OURS)]
        everything = [*TOP_LEVEL, *known, *(f"trainer.{name}" for name in defaults_of(Trainer))]
        raise UserError(f"unknown option '{option}'; {nearest(option[2:], everything)}")
    if section in SECTIONS and not names:
        if section == "trainer" or not isinstance(value, str):
            raise UserError(f"option {option} sets no section as a whole: give {option}.NAME=VALUE")
        names = ["class_path"]
    if section == "trainer" and names[0] not in defaults_of(Trainer):
        raise UserError(f"unknown key 'trainer.{names[0]}'; {nearest(names[0], defaults_of(Trainer))}")
    # The arguments of a class are one level deeper, in `init_args`.
    place = 1 if section == "trainer" else 0
    if len(names) > place and names[place] not in ("class_path", "init_args"):
        names.insert(place, "init_args")
    *parents, last = [section, *names]
    part = config
    for word in parents:
        part = _child(part, word, option)
    if option.endswith("+"):
        current = part.get(last)
        if not isinstance(current, list | None) and last not in KINDS:
            raise UserError(f"option {option} appends to a list, and {last} is {current!r}")
        value = [*as_list(current), *as_list(value)]
    elif last == "class_path" and value != part.get("class_path"):
        part.clear()
    part[last] = value


def _child(part: dict[str, Any], word: str, option: str) -> dict[str, Any]:
    """Return the mapping below a key, and create it if it is missing; of a list, its last element."""
    found = part.get(word)
    if isinstance(found, list) and found:
        found[-1] = as_block(found[-1])
        found = found[-1]
    else:
        found = part[word] = {} if found is None else as_block(found)
    if not isinstance(found, dict):
        raise UserError(f"unknown option '{option}'; a class argument is {option[2:].partition('.')[0]}.NAME")
    return found


def _drop_added_checkpoint(trainer: dict[str, Any]) -> None:
    """Drop the default checkpoint callback if an option has added another one."""
    others = [part for part in trainer["callbacks"] if part != CHECKPOINT]
    if has_callback(others, Checkpoint):
        trainer["callbacks"] = others


def _note_dropped(dropped: dict[str, dict[str, Any]], below: Mapping[str, Any], above: Mapping[str, Any]) -> None:
    """Remember the arguments of a class that another class replaces."""
    for kind, arguments in dropped.items():
        old, new = (as_mapping(kind, as_block(config.get(kind))) for config in (below, above))
        if "class_path" in new and new["class_path"] != old.get("class_path"):
            arguments.update(as_mapping(f"{kind}.init_args", old.get("init_args")))


def _validate_dropped(config: Mapping[str, Any], dropped: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse to lose an argument that was given to the replaced class and that the new class has as well."""
    for kind, arguments in dropped.items():
        section = as_block(config[kind])
        cls = find_class(kind, section["class_path"])
        for name, default in defaults_of(cls).items():
            lost = name in arguments and name not in (section.get("init_args") or {})
            if lost and arguments[name] != default:
                given = f"{kind}.{name}={arguments[name]}"
                raise UserError(f"{given} was given to another class, and {cls.__name__} has it too: give it again")
