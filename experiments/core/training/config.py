"""Completes a config with the defaults and validates the names in it against the classes.

The Lightning CLI's parser validates types and required arguments. This module finds the mistakes that the parser
accepts (an argument of another class) or reports in fifty lines (an unknown name). Each becomes one line that names
the nearest valid name.
"""

from __future__ import annotations

import copy
import inspect
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lightning import Trainer
from lightning.pytorch.callbacks import Checkpoint

from experiments.core.callbacks import Divergence
from experiments.core.files.errors import UserError, listed, nearest
from experiments.core.files.yaml import as_list, check_texts
from experiments.core.training import allow_list
from experiments.core.training.classes import defaults_of, find_class, known_names, parameter_of
from experiments.core.training.contradictions import validate_trainer
from lightning_modules.metrics import metric_modes

# Used where a config names no logger, no checkpoint callback or no `Divergence`.
LOGGER: dict[str, Any] = {
    "class_path": "TensorBoardLogger",
    # With the default queue of ten events, training waits for the writer.
    "init_args": {"save_dir": ".", "name": "", "version": "", "default_hp_metric": False, "max_queue": 1000},
}
CHECKPOINT: dict[str, Any] = {"class_path": "BestWeights"}
DIVERGENCE: dict[str, Any] = {"class_path": "Divergence"}

SECTIONS = ("model", "data", "trainer")
TOP_LEVEL = ("seed_everything", *SECTIONS, "ckpt_path")
# The largest seed that NumPy accepts.
LARGEST_SEED = 2**32 - 1

# Keys of the trainer that hold classes, and their kind; an option sets an argument of the last class of a list.
KINDS = {"callbacks": "callback", "logger": "logger", "profiler": "profiler", "strategy": "strategy"}
# Keys of the trainer whose text may be a class path.
NAMING = ("accelerator", "plugins", "profiler", "strategy")


def as_block(value: Any) -> Any:
    """Return a class given by its name as a `class_path` block; any other value as it is."""
    return {"class_path": value} if isinstance(value, str) else value


def with_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """Add the logger, the check for divergence and the checkpoint of the best weights where a config names none."""
    trainer = config.get("trainer") or {}
    callbacks = trainer.get("callbacks") or [] if isinstance(trainer, dict) else None
    callbacks = [callbacks] if isinstance(callbacks, dict | str) else callbacks
    if not isinstance(callbacks, list):
        return dict(config)  # `validate_config` reports the mistake
    if trainer.get("enable_checkpointing") is False:
        callbacks, added = [part for part in callbacks if part != CHECKPOINT], []
    else:
        added = [] if has_callback(callbacks, Checkpoint) else [CHECKPOINT]
    added = [*([] if has_callback(callbacks, Divergence) else [DIVERGENCE]), *added]
    complete = {**trainer, "logger": _offline(trainer.get("logger", LOGGER)), "callbacks": [*callbacks, *added]}
    named = {kind: as_block(config[kind]) for kind in ("model", "data") if kind in config}
    return copy.deepcopy({**config, **named, "trainer": complete})


def _offline(logger: Any) -> Any:
    """Use Weights & Biases offline, without a login, unless the environment sets WANDB_MODE=online."""
    if isinstance(logger, list):
        return [_offline(part) for part in logger]
    block = as_block(logger)
    if not isinstance(block, dict) or str(block.get("class_path")).rpartition(".")[2] != "WandbLogger":
        return logger
    arguments = {"offline": os.environ.get("WANDB_MODE") != "online", **(block.get("init_args") or {})}
    return {**block, "init_args": arguments}


def with_modes(config: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in the missing `mode` of each callback that monitors a metric of this project."""
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


def has_callback(callbacks: Sequence[Any], base: type) -> bool:
    """Return whether some callback in a config is of a class."""
    for part in callbacks:
        block = as_block(part)
        try:
            if issubclass(find_class("callback", block["class_path"]), base):
                return True
        except (UserError, KeyError, TypeError):
            continue  # `validate_config` reports the mistake
    return False


def validate_config(config: Mapping[str, Any], *, fits: bool = True) -> None:
    """Validate the names in a config, its seed and its trainer options.

    Args:
        config: files and options, merged.
        fits: whether it is used for training.

    Raises:
        UserError: the first mistake found.
    """
    if not config:
        raise UserError("nothing to do without a config: --config FILE")
    check_texts("", config)
    validate_seed(config.get("seed_everything"))
    for kind in ("model", "data"):
        if config.get(kind) is None:
            raise UserError(f"the config names no {kind}; valid: {', '.join(known_names(kind))}")
        _validate_class(kind, config[kind], kind, config)
    trainer = as_mapping("trainer", config.get("trainer"))
    arguments = defaults_of(Trainer)
    for key, value in trainer.items():
        if key not in arguments:
            raise UserError(f"unknown key 'trainer.{key}'; {suggest_section(key, config) or nearest(key, arguments)}")
        _validate_value(f"trainer.{key}", Trainer, key, value)
        _validate_paths(value, named=key in NAMING)
    validate_parts(config)
    validate_trainer(trainer, fits=fits)


def validate_parts(config: Mapping[str, Any]) -> None:
    """Validate the classes of a trainer, and the words that stand for classes (`strategy: ddp`)."""
    trainer = as_mapping("trainer", config.get("trainer"))
    words = {key: word for key in allow_list.WORDS if re.fullmatch("[a-z0-9_]+", word := str(trainer.get(key)))}
    for key, word in words.items():
        allow_list.validate_word(key, word)
    for part in as_list(trainer.get("plugins")):
        name = as_block(part).get("class_path") if isinstance(part, str | dict) else None
        if isinstance(name, str) and "." not in name:
            allow_list.validate_allowed(f"lightning.pytorch.plugins.{name}")
    for key, kind in KINDS.items():
        given = None if key in words else trainer.get(key)
        for index, part in enumerate(given if isinstance(given, list) else [given]):
            if isinstance(given, list) or not (given is None or (kind == "logger" and isinstance(given, bool))):
                place = f"trainer.{key}[{index}]" if isinstance(given, list) else f"trainer.{key}"
                _validate_class(kind, part, place, config)


def validate_seed(seed: Any) -> None:
    """Require a seed that every random generator accepts.

    Raises:
        UserError: the seed is not valid.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise UserError(f"seed_everything must be a whole number >= 0, for example 1000; it is {seed!r}")
    if seed > LARGEST_SEED:
        raise UserError(f"seed_everything must be at most {LARGEST_SEED}; it is {seed}")


def _validate_class(kind: str, section: Any, key: str, config: Mapping[str, Any]) -> None:
    """Validate a `class_path` / `init_args` block: the class exists and has these arguments."""
    section = as_mapping(key, as_block(section))
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
            hint = suggest_section(word, config) or nearest(word, ("class_path", "init_args"))
            raise UserError(f"unknown key '{key}.{word}'; {hint}")
    if section.get("init_args", {}) is None:
        raise UserError(f"{key}.init_args must be a mapping of keys to values; it is null")
    for name, value in as_mapping(f"{key}.init_args", section.get("init_args")).items():
        if name not in valid:
            hint = suggest_section(name, config) or nearest(name, valid)
            raise UserError(f"unknown key '{key}.{name}' of {cls.__name__}; {hint}")
        _validate_value(f"{key}.{name}", cls, name, value)


def _validate_value(key: str, cls: type, name: str, value: Any) -> None:
    """Refuse what the parser accepts: null where it is not a valid value, and text for a number without annotation."""
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


def _validate_paths(value: Any, *, named: bool) -> None:
    """Refuse every class path that is not on the allow-list, at any depth, before the parser imports it."""
    if isinstance(value, str) and named and allow_list.PATH.fullmatch(value):
        allow_list.validate_allowed(value)
    elif isinstance(value, dict):
        for key, item in value.items():
            _validate_paths(item, named=key == "class_path" or named)
    elif isinstance(value, list):
        for item in value:
            _validate_paths(item, named=named)


def as_mapping(key: str, value: Any) -> dict[str, Any]:
    """Return a mapping; None becomes an empty one.

    Raises:
        UserError: the value is not a mapping.
    """
    if value is not None and not isinstance(value, dict):
        raise UserError(f"{key} must be a mapping of keys to values; it is {value!r}")
    return value or {}


def suggest_section(word: str, config: Mapping[str, Any]) -> str:
    """Return a hint where a misplaced key belongs; empty if no section has such a key."""
    word = word.removesuffix("+")
    if word in SECTIONS or word == "seed_everything":
        return f"'{word}' stands at the top level"
    for section in SECTIONS:
        try:
            cls = Trainer if section == "trainer" else find_class(section, as_block(config[section])["class_path"])
        except (UserError, KeyError, TypeError):
            continue
        if word in defaults_of(cls):
            return f"did you mean '{section}.{word}'?"
    return ""
