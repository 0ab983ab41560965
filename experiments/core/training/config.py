"""From files and options to one mapping: merged, completed by the defaults, and its names checked against classes.

The parser checks types and required arguments. This module refuses the mistakes that the parser accepts in silence (an
option given twice, an argument that belongs to another class) and those that it reports in fifty lines (an unknown
name). Each becomes one line that names the nearest valid name.
"""

from __future__ import annotations

import copy
import inspect
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning import Trainer
from lightning.pytorch.callbacks import Checkpoint

from experiments.core.callbacks import Divergence
from experiments.core.files.errors import UserError, listed, nearest, require_file
from experiments.core.files.yaml import as_list, check_texts, load_yaml, merge, parse_value
from experiments.core.grid import catalogue
from experiments.core.training import allow_list
from experiments.core.training.classes import KNOWN_CLASSES, defaults_of, find_class, known_names, parameter_of
from experiments.core.training.contradictions import check_training
from lightning_modules.metrics import metric_modes

# What a config gets that says nothing of it.
LOGGER: dict[str, Any] = {
    "class_path": "TensorBoardLogger",
    # With the usual queue of ten events, training waits for the writer.
    "init_args": {"save_dir": ".", "name": "", "version": "", "default_hp_metric": False, "max_queue": 1000},
}
CHECKPOINT: dict[str, Any] = {"class_path": "BestWeights"}
DIVERGENCE: dict[str, Any] = {"class_path": "Divergence"}

SECTIONS = ("model", "data", "trainer")
TOP_LEVEL = ("seed_everything", *SECTIONS, "ckpt_path")
# What NumPy takes, which is seeded as well.
LARGEST_SEED = 2**32 - 1

FLAGS = ("--print_config", "--help", "-h")
THREADS = "--threads"
# Options that are read here, and are no part of the config.
OURS = (catalogue.ALLOW_IMPORT, THREADS)
CONFIG = ("--config", "-c")
# Keys of the trainer that hold classes by kind; of a list, an option sets an argument of the last.
KINDS = {"callbacks": "callback", "logger": "logger", "profiler": "profiler", "strategy": "strategy"}
# Keys of the trainer at which a text may be the path of a class.
NAMING = ("accelerator", "plugins", "profiler", "strategy")


@dataclass(frozen=True)
class Command:
    """What a command line asks for."""

    config: dict[str, Any]
    files: tuple[Path, ...]
    # To begin from, or to evaluate.
    checkpoint: Path | None
    # Words that ask for help, and kind and name of each class that `--KIND.help NAME` asks about.
    help: tuple[str, ...]
    described: tuple[tuple[str, str], ...]
    print_config: bool
    # Of torch, within an operation.
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
    _check_order(options)
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
            allow_list.check_allowed(name)
    config: dict[str, Any] = {}
    # Arguments of a class that another one has replaced.
    dropped: dict[str, dict[str, Any]] = {"model": {}, "data": {}}
    for file in files:
        content = load_yaml(file)
        for key in content:
            if key not in TOP_LEVEL:
                hint = _elsewhere(key, {**config, **content}) or nearest(key, TOP_LEVEL)
                raise UserError(f"config file '{file}': unknown key '{key}'; {hint}")
        _note_dropped(dropped, config, content)
        config = merge(config, content)
        # A list that a later file replaces is read as well.
        _check_parts(config)
    if config:
        config = with_defaults(config)
    for name, value in options:
        if name not in (*FLAGS, *CONFIG, *OURS) and not name.endswith(".help"):
            below = copy.deepcopy(config)
            lay(config, name, parse_value(value))
            _note_dropped(dropped, below, config)
            if name == "--trainer.callbacks+":
                _drop_added_checkpoint(config["trainer"])
    checkpoint = config.pop("ckpt_path", None)
    if not helping and not (printing and not config):
        check_config(config, fits=fits)
        _check_dropped(config, dropped)
        _check_is_there(checkpoint)
    words = tuple(word for name, value in helping for word in ([name, value] if value else [name]))
    path = None if checkpoint is None else Path(str(checkpoint))
    threads = [_count(THREADS, value) for name, value in options if name == THREADS]
    return Command(config, files, path, words, described, printing, *threads)


def _count(option: str, text: str) -> int:
    if not (text.isdecimal() and int(text) > 0):
        raise UserError(f"{option} must be a whole number of at least 1; it is '{text}'")
    return int(text)


def _options(args: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Give each option with its value, which is empty for a flag."""
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


def _check_order(options: Sequence[tuple[str, str]]) -> None:
    """Require that files come before options, and that no option is given twice."""
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


def lay(config: dict[str, Any], option: str, value: Any) -> None:
    """Set what an option names, in place: `--model.depth` is the argument `depth` of the class at `model`.

    Args:
        config: a whole config.
        option: `--section.name`, with a `+` at its end to append the value to a list.
        value: in its own type.

    Raises:
        UserError: there is no such option, or its value is no value for it.
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
    # Where a class stands, its arguments lie one level deeper.
    place = 1 if section == "trainer" else 0
    if len(names) > place and names[place] not in ("class_path", "init_args"):
        names.insert(place, "init_args")
    *way, last = [section, *names]
    part = config
    for word in way:
        part = _below(part, word, option)
    if option.endswith("+"):
        below = part.get(last)
        if not isinstance(below, list | None) and last not in KINDS:
            raise UserError(f"option {option} appends to a list, and {last} is {below!r}")
        value = [*as_list(below), *as_list(value)]
    elif last == "class_path" and value != part.get("class_path"):
        part.clear()
    part[last] = value


def _below(part: dict[str, Any], word: str, option: str) -> dict[str, Any]:
    """The mapping at a word, which is made if there is none: of a class given by its name, of the last in a list."""
    found = part.get(word)
    if isinstance(found, list) and found:
        found[-1] = _block(found[-1])
        found = found[-1]
    else:
        found = part[word] = {} if found is None else _block(found)
    if not isinstance(found, dict):
        raise UserError(f"unknown option '{option}'; a class argument is {option[2:].partition('.')[0]}.NAME")
    return found


def _block(value: Any) -> Any:
    return {"class_path": value} if isinstance(value, str) else value


def with_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """Add the logger, the check for divergence and the checkpoint of the best weights where a config names none."""
    trainer = config.get("trainer") or {}
    callbacks = trainer.get("callbacks") or [] if isinstance(trainer, dict) else None
    callbacks = [callbacks] if isinstance(callbacks, dict | str) else callbacks
    if not isinstance(callbacks, list):
        return dict(config)  # a mistake, which is shown where it is checked
    if trainer.get("enable_checkpointing") is False:
        callbacks, added = [part for part in callbacks if part != CHECKPOINT], []
    else:
        added = [] if _has(callbacks, Checkpoint) else [CHECKPOINT]
    added = [*([] if _has(callbacks, Divergence) else [DIVERGENCE]), *added]
    complete = {**trainer, "logger": _offline(trainer.get("logger", LOGGER)), "callbacks": [*callbacks, *added]}
    named = {kind: _block(config[kind]) for kind in ("model", "data") if kind in config}
    return copy.deepcopy({**config, **named, "trainer": complete})


def _offline(logger: Any) -> Any:
    """Let Weights & Biases need neither network nor login, unless somebody asks for them."""
    if isinstance(logger, list):
        return [_offline(part) for part in logger]
    block = _block(logger)
    if not isinstance(block, dict) or str(block.get("class_path")).rpartition(".")[2] != "WandbLogger":
        return logger
    arguments = {"offline": os.environ.get("WANDB_MODE") != "online", **(block.get("init_args") or {})}
    return {**block, "init_args": arguments}


def with_modes(config: Mapping[str, Any]) -> dict[str, Any]:
    """Say, for each callback that monitors a metric of ours, which of two values is better, if the config does not."""
    trainer = dict(config.get("trainer") or {})
    parts = [_with_mode(part) for part in as_list(trainer.get("callbacks"))]
    return {**config, "trainer": {**trainer, "callbacks": parts}} if parts else dict(config)


def _with_mode(part: Any) -> Any:
    arguments = (part.get("init_args") or {}) if isinstance(part, dict) else {}
    metric = str(arguments.get("monitor")).rpartition("/")[2]
    if "mode" in arguments or metric not in metric_modes():
        return part
    takes = "mode" in defaults_of(find_class("callback", part["class_path"]))
    return {**part, "init_args": {**arguments, "mode": metric_modes()[metric]}} if takes else part


def _drop_added_checkpoint(trainer: dict[str, Any]) -> None:
    """Leave out the checkpoint that was added where no file names one, once an option does: both would write it."""
    others = [part for part in trainer["callbacks"] if part != CHECKPOINT]
    if _has(others, Checkpoint):
        trainer["callbacks"] = others


def _has(callbacks: Sequence[Any], base: type) -> bool:
    for part in callbacks:
        block = _block(part)
        try:
            if issubclass(find_class("callback", block["class_path"]), base):
                return True
        except (UserError, KeyError, TypeError):
            continue  # a mistake, which is shown where it is checked
    return False


def _note_dropped(dropped: dict[str, dict[str, Any]], below: Mapping[str, Any], above: Mapping[str, Any]) -> None:
    """Keep the arguments of a class whose place another one takes."""
    for kind, arguments in dropped.items():
        old, new = (_mapping(kind, _block(config.get(kind))) for config in (below, above))
        if "class_path" in new and new["class_path"] != old.get("class_path"):
            arguments.update(_mapping(f"{kind}.init_args", old.get("init_args")))


def _check_dropped(config: Mapping[str, Any], dropped: Mapping[str, Mapping[str, Any]]) -> None:
    for kind, arguments in dropped.items():
        section = _block(config[kind])
        cls = find_class(kind, section["class_path"])
        for name, default in defaults_of(cls).items():
            lost = name in arguments and name not in (section.get("init_args") or {})
            if lost and arguments[name] != default:
                given = f"{kind}.{name}={arguments[name]}"
                raise UserError(f"{given} was given to another class, and {cls.__name__} has it too: give it again")


def _check_is_there(checkpoint: Any) -> None:
    if checkpoint is not None:
        require_file(Path(str(checkpoint)), "ckpt_path", ".ckpt")


def check_config(config: Mapping[str, Any], *, fits: bool = True) -> None:
    """Check the names in a config, its seed, and what its trainer is told.

    Args:
        config: files and options laid over each other.
        fits: whether it is going to be trained.

    Raises:
        UserError: the first mistake found.
    """
    if not config:
        raise UserError("nothing to do without a config: --config FILE")
    check_texts("", config)
    check_seed(config.get("seed_everything"))
    for kind in ("model", "data"):
        if config.get(kind) is None:
            raise UserError(f"the config names no {kind}; valid: {', '.join(known_names(kind))}")
        _check_class(kind, config[kind], kind, config)
    trainer = _mapping("trainer", config.get("trainer"))
    arguments = defaults_of(Trainer)
    for key, value in trainer.items():
        if key not in arguments:
            raise UserError(f"unknown key 'trainer.{key}'; {_elsewhere(key, config) or nearest(key, arguments)}")
        _check_value(f"trainer.{key}", Trainer, key, value)
        _check_paths(value, named=key in NAMING)
    _check_parts(config)
    check_training(trainer, fits=fits)


def _check_parts(config: Mapping[str, Any]) -> None:
    """Check the classes of a trainer, and the words that stand for classes."""
    trainer = _mapping("trainer", config.get("trainer"))
    words = {key: word for key in allow_list.WORDS if re.fullmatch("[a-z0-9_]+", word := str(trainer.get(key)))}
    for key, word in words.items():
        allow_list.check_word(key, word)
    for part in as_list(trainer.get("plugins")):
        name = _block(part).get("class_path") if isinstance(part, str | dict) else None
        if isinstance(name, str) and "." not in name:
            allow_list.check_allowed(f"lightning.pytorch.plugins.{name}")
    for key, kind in KINDS.items():
        given = None if key in words else trainer.get(key)
        for index, part in enumerate(given if isinstance(given, list) else [given]):
            if isinstance(given, list) or not (given is None or (kind == "logger" and isinstance(given, bool))):
                place = f"trainer.{key}[{index}]" if isinstance(given, list) else f"trainer.{key}"
                _check_class(kind, part, place, config)


def check_seed(seed: Any) -> None:
    """Require a seed that every generator takes.

    Raises:
        UserError: it is none.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise UserError(f"seed_everything must be a whole number >= 0, for example 1000; it is {seed!r}")
    if seed > LARGEST_SEED:
        raise UserError(f"seed_everything must be at most {LARGEST_SEED}; it is {seed}")


def _check_class(kind: str, section: Any, key: str, config: Mapping[str, Any]) -> None:
    """Check a `class_path` / `init_args` block: a class that exists, and only arguments it has."""
    section = _mapping(key, _block(section))
    if "class_path" not in section:
        raise UserError(f"{key} needs a class_path; {listed(known_names(kind))}")
    if not isinstance(section["class_path"], str):
        raise UserError(f"{key}.class_path must be the name of a class; it is {section['class_path']!r}")
    cls = find_class(kind, section["class_path"])
    valid = set(defaults_of(cls))
    for word in section:
        if word in valid:
            raise UserError(f"unknown key '{key}.{word}'; did you mean '{key}.init_args.{word}'?")
        if word not in ("class_path", "init_args"):
            hint = _elsewhere(word, config) or nearest(word, ("class_path", "init_args"))
            raise UserError(f"unknown key '{key}.{word}'; {hint}")
    if section.get("init_args", {}) is None:
        raise UserError(f"{key}.init_args must be a mapping of keys to values; it is null")
    for name, value in _mapping(f"{key}.init_args", section.get("init_args")).items():
        if name not in valid:
            hint = _elsewhere(name, config) or nearest(name, valid)
            raise UserError(f"unknown key '{key}.{name}' of {cls.__name__}; {hint}")
        _check_value(f"{key}.{name}", cls, name, value)


def _check_value(key: str, cls: type, name: str, value: Any) -> None:
    """Refuse what the parser lets through: null where it is no value, and text where a number of no type is."""
    parameter, default = parameter_of(cls, name), defaults_of(cls)[name]
    annotation = inspect.Parameter.empty if parameter is None else parameter.annotation
    if annotation is inspect.Parameter.empty:
        if type(default) in (int, float) and type(value) not in (int, float):
            raise UserError(f"{key}: expected {type(default).__name__}; it is {value}")
        return
    words = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    takes_null = parameter is not None and parameter.default is None
    if value is None and not takes_null and not any(word in words for word in ("None", "Optional", "Any")):
        raise UserError(f"{key}: expected {words}; it is null")


def _check_paths(value: Any, *, named: bool) -> None:
    """Refuse every path of a class from elsewhere, at any depth, before the parser looks at it."""
    if isinstance(value, str) and named and allow_list.PATH.fullmatch(value):
        allow_list.check_allowed(value)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_paths(item, named=key == "class_path" or named)
    elif isinstance(value, list):
        for item in value:
            _check_paths(item, named=named)


def _mapping(key: str, value: Any) -> dict[str, Any]:
    """A mapping, empty where there is nothing.

    Raises:
        UserError: something else stands there.
    """
    if value is not None and not isinstance(value, dict):
        raise UserError(f"{key} must be a mapping of keys to values; it is {value!r}")
    return value or {}


def _elsewhere(word: str, config: Mapping[str, Any]) -> str:
    """Where a key belongs that stands in the wrong place, as a hint; empty if it belongs nowhere."""
    word = word.removesuffix("+")
    if word in SECTIONS or word == "seed_everything":
        return f"'{word}' stands at the top level"
    for section in SECTIONS:
        try:
            cls = Trainer if section == "trainer" else find_class(section, _block(config[section])["class_path"])
        except (UserError, KeyError, TypeError):
            continue
        if word in defaults_of(cls):
            return f"did you mean '{section}.{word}'?"
    return ""
