"""One strict pass over the YAML and the command line, before the Lightning CLI sees them.

The Lightning CLI accepts several mistakes without a word (an abbreviated option, a size that a link overwrites, an
epoch count of zero) and reports the others in fifty lines. This pass reads the same files and options, and answers each
mistake in one line that names the nearest valid thing.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning import Trainer

from experiments.core.arguments import arguments_of, may_name_code, parameters_of
from experiments.core.classes import KNOWN_CLASSES, find_class, known_names
from experiments.core.command_line import (
    CONFIG,
    FLAGS,
    LISTS,
    apply_option,
    as_block,
    check_order,
    class_block,
    read_options,
)
from experiments.core.errors import UserError, listed, nearest
from experiments.core.training import check_training
from experiments.core.trust import OPTION, allow, check_texts
from experiments.core.yaml_files import load_yaml, merge

# Linked by the Lightning CLI; a value given by hand would be accepted and overwritten.
LINKED = {
    "model": {
        **dict.fromkeys(("num_features", "sample_shape", "num_classes"), "the data set"),
        "seed": "seed_everything",
    },
    "data": {"seed": "seed_everything"},
}
SECTIONS = ("model", "data", "trainer")
# What NumPy takes, which is seeded as well.
LARGEST_SEED = 2**32 - 1


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
    options = list(read_options(args))
    check_order(options)
    for _, value in [option for option in options if option[0] == OPTION]:
        allow(value)
    config: dict[str, Any] = {}
    replaced: dict[str, dict[str, Any]] = {"model": {}, "data": {}}
    files = [Path(value) for name, value in options if name in CONFIG]
    for file in files:
        content = load_yaml(file)
        for key in content:
            if key not in top_level:
                hint = _elsewhere(key, {**config, **content}) or nearest(key, top_level)
                raise UserError(f"config file '{file}': unknown key '{key}'; {hint}")
        _note_replaced(replaced, config, content)
        config = merge(config, content)
    settings = [(name, value) for name, value in options if name not in (*FLAGS, *CONFIG, OPTION)]
    for name, value in settings:
        if name.removesuffix(".class_path") in ("--model", "--data"):
            _note_replaced(replaced, config, {name[2:].partition(".")[0]: {"class_path": value}})
        apply_option(config, name, value, top_level)
    help_wanted = any(arg in ("--help", "-h") or ".help" in arg for arg in args)
    # `--print_config` alone prints a config to fill in.
    template_wanted = "--print_config" in args and not config
    if not help_wanted and not template_wanted:
        _check_config(config, subcommand)
        _check_kept(config, replaced)
    asked_about = ((name[2 : -len(".help")], value) for name, value in settings if name.endswith(".help"))
    return Request(
        config, tuple(files), tuple((kind, name) for kind, name in asked_about if kind in KNOWN_CLASSES and name)
    )


def _note_replaced(replaced: dict[str, dict[str, Any]], below: Mapping[str, Any], above: Mapping[str, Any]) -> None:
    """Keep the arguments of a class whose place another one takes: the parser would hand those it also has on to it."""
    for kind, arguments in replaced.items():
        old, new = (class_block(kind, config.get(kind)) for config in (below, above))
        if "class_path" in new and new["class_path"] != old.get("class_path"):
            arguments.update(as_block(f"{kind}.init_args", old.get("init_args")))


def _check_kept(config: Mapping[str, Any], replaced: Mapping[str, Mapping[str, Any]]) -> None:
    for kind, arguments in replaced.items():
        section = class_block(kind, config[kind])
        cls = find_class(kind, section["class_path"])
        said = as_block(f"{kind}.init_args", section.get("init_args"))
        for name, argument in arguments_of(cls).items():
            if name in arguments and name not in said and arguments[name] != argument.default:
                given = f"{kind}.{name}={arguments[name]}"
                raise UserError(f"{given} was given to another class, and {cls.__name__} would keep it: give it again")


def _check_config(config: Mapping[str, Any], subcommand: str) -> None:
    seed = config.get("seed_everything")
    if not config:
        raise UserError("nothing to do without a config: --config FILE")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise UserError(f"seed_everything must be a whole number >= 0, for example 1000; it is {seed!r}")
    if seed > LARGEST_SEED:
        raise UserError(f"seed_everything must be at most {LARGEST_SEED}; it is {seed}")
    for kind in ("model", "data"):
        section = config.get(kind)
        if section is None:
            raise UserError(f"the config names no {kind}; valid: {', '.join(known_names(kind))}")
        check_class(kind, section, kind, config)
    _check_trainer(config)
    check_training(as_block("trainer", config.get("trainer")), subcommand)
    checkpoint = config.get("ckpt_path")
    if checkpoint is not None and not Path(str(checkpoint)).is_file():
        siblings = [str(path) for path in Path(str(checkpoint)).parent.glob("*.ckpt")]
        hint = f"; {nearest(str(checkpoint), siblings)}" if siblings else ""
        raise UserError(f"ckpt_path '{checkpoint}' does not exist{hint}")
    # It is read so wherever there is one.
    if config.get("weights_only") not in (None, checkpoint is not None or None):
        raise UserError("weights_only has no effect: nothing but the weights and numbers of a checkpoint is ever read")
    if config.get("return_predictions") is False:
        raise UserError("return_predictions must be true: predict writes them to a file")


def _check_trainer(config: Mapping[str, Any]) -> None:
    trainer = as_block("trainer", config.get("trainer"))
    arguments = arguments_of(Trainer)
    for key, value in trainer.items():
        if key not in arguments:
            raise UserError(f"unknown key 'trainer.{key}'; {_elsewhere(key, config) or nearest(key, arguments)}")
        if may_name_code(arguments[key].hint) and key not in LISTS:
            check_texts(value)
        _check_given(f"trainer.{key}", Trainer, key, value)
    for kind, key in (("callback", "callbacks"), ("logger", "logger")):
        given = trainer.get(key)
        if isinstance(given, bool):
            continue
        parts = given if isinstance(given, list) else [] if given is None else [given]
        for index, part in enumerate(parts):
            check_class(kind, part, f"trainer.{key}[{index}]" if isinstance(given, list) else f"trainer.{key}", config)


def check_class(kind: str, section: Any, key: str, config: Mapping[str, Any]) -> type:
    """Check a `class_path` / `init_args` block: a known or trusted class, and only arguments it has.

    Args:
        kind: model, data, callback or logger.
        section: the block, or the name of the class alone.
        key: of the block, for messages.
        config: which the block is part of, where a key that does not belong here may belong.
    """
    section = class_block(key, section)
    if "class_path" not in section:
        raise UserError(f"{key} needs a class_path; {listed(known_names(kind))}")
    if not isinstance(section["class_path"], str):
        raise UserError(f"{key}.class_path must be the name of a class; it is {section['class_path']!r}")
    cls = find_class(kind, section["class_path"])
    valid = parameters_of(cls)
    for word in section:
        if word in valid:
            raise UserError(f"unknown key '{key}.{word}'; did you mean '{key}.init_args.{word}'?")
        if word not in ("class_path", "init_args"):
            hint = _elsewhere(word, config) or nearest(word, ("class_path", "init_args"))
            raise UserError(f"unknown key '{key}.{word}'; {hint}")
    if section.get("init_args", {}) is None:
        raise UserError(f"{key}.init_args must be a mapping of keys to values; it is null")
    for name, value in as_block(f"{key}.init_args", section.get("init_args")).items():
        source = LINKED.get(kind, {}).get(name)
        if source:
            raise UserError(f"{key}.{name} is not set by hand: it comes from {source}")
        if name not in valid:
            settable = valid - set(LINKED.get(kind, {}))
            hint = _elsewhere(name, config) or nearest(name, settable)
            raise UserError(f"unknown key '{key}.{name}' of {cls.__name__}; {hint}")
        if may_name_code(arguments_of(cls)[name].hint):
            check_texts(value)
        _check_given(f"{key}.{name}", cls, name, value)
    return cls


def _check_given(key: str, cls: type, name: str, value: Any) -> None:
    """Refuse what the parser lets through: null where it is no value, and text where a number of no type is."""
    argument = arguments_of(cls)[name]
    if value is None and not argument.takes_none:
        raise UserError(f"{key}: expected {argument.words}; it is null")
    untyped = argument.hint is inspect.Parameter.empty
    if untyped and type(argument.default) in (int, float) and type(value) not in (int, float):
        raise UserError(f"{key}: expected {type(argument.default).__name__}; it is {value}")


def _elsewhere(word: str, config: Mapping[str, Any]) -> str:
    """Where a key belongs that stands in the wrong place, as a hint; empty if it belongs nowhere."""
    word = word.removesuffix("+")
    if word in SECTIONS or word == "seed_everything":
        return f"'{word}' stands at the top level"
    for section in SECTIONS:
        try:
            names = argument_names(section, config)
        except (UserError, KeyError, TypeError):
            continue
        if word in names - set(LINKED.get(section, {})):
            return f"did you mean '{section}.{word}'?"
    return ""


def argument_names(section: str, config: Mapping[str, Any]) -> set[str]:
    """Names that a config's model, data or trainer takes."""
    if section == "trainer":
        return parameters_of(Trainer)
    return parameters_of(find_class(section, str(class_block(section, config[section])["class_path"])))
