"""The options of a Lightning CLI command, read and laid over a config as far as the strict pass has to look at them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from lightning import Trainer

from experiments.core.arguments import parameters_of
from experiments.core.classes import KNOWN_CLASSES, find_class
from experiments.core.errors import UserError, nearest
from experiments.core.trust import OPTION, check_texts, check_trusted
from experiments.core.yaml_files import parse_value

FLAGS = ("--print_config", "--help", "-h")
CONFIG = ("--config", "-c")
# Lists of classes, of which an option can set an argument of the last.
LISTS = ("callbacks", "logger")


def read_options(args: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Give each option with its value, which is empty for a flag.

    Raises:
        UserError: a word that is no option, or an option without a value.
    """
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


def check_order(options: Sequence[tuple[str, str]]) -> None:
    """Require that files come before options, and that no option is given twice: the parser takes the last word.

    Raises:
        UserError: the first that is not so.
    """
    seen: dict[str, str] = {}
    for name, value in options:
        if name in CONFIG:
            first = next((option for option in seen.values() if option != OPTION), None)
            if first:
                raise UserError(f"option {first} stands before {name} {value}, which would override it: put it after")
        elif name not in FLAGS:
            # The parser takes `--model.depth` for `--model.init_args.depth`.
            key = name.replace(".init_args.", ".")
            if key in seen and not name.endswith("+"):
                raise UserError(f"option {name} is given twice")
            seen[key] = name


def apply_option(config: dict[str, Any], name: str, value: str, top_level: set[str]) -> None:
    """Lay one option over the config, as far as the checks need it.

    What lies deeper is left to the parser, but for the paths of classes in it.

    Raises:
        UserError: there is no such option, or its value is no value for it.
    """
    if not name.startswith("--"):
        raise UserError(f"unknown option '{name}'; options begin with --")
    words = name[2:].rstrip("+").split(".")
    valid = {*top_level, "config", "print_config", "help", OPTION[2:]}
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
    parsed = parse_value(value)
    if len(words) == 1:
        if words[0] == "trainer" or (words[0] in ("model", "data") and isinstance(parsed, dict | list)):
            raise UserError(f"option {name} sets no section as a whole: give {name}.NAME=VALUE")
        config[words[0]] = parsed
    elif words[0] == "trainer":
        _set_in_trainer(config, name, words[1:], parsed)
    else:
        _set_in_class(config, name, words, parsed)


def _set_in_class(config: dict[str, Any], name: str, words: Sequence[str], value: Any) -> None:
    kind, *rest = words
    if len(rest) > 2:
        check_texts(value)
        return
    section = config[kind] = class_block(kind, config.get(kind))
    if rest == ["class_path"]:
        if value != section.get("class_path"):
            config[kind] = {"class_path": value}
    elif len(rest) == 1 or rest[0] == "init_args":
        below = as_block(f"{kind}.init_args", section.get("init_args"))
        section["init_args"] = {**below, rest[-1]: _appended(below, name, rest[-1], value)}
    else:
        raise UserError(f"unknown option '{name}'; a class argument is {kind}.NAME")


def _set_in_trainer(config: dict[str, Any], name: str, words: Sequence[str], value: Any) -> None:
    key, *rest = words
    section = config["trainer"] = as_block("trainer", config.get("trainer"))
    rest = rest[1:] if rest[:1] == ["init_args"] else rest
    if not rest:
        section[key] = _appended(section, name, key, value)
    elif key not in parameters_of(Trainer):
        raise UserError(f"unknown option '{name}'; {nearest(key, parameters_of(Trainer))}")
    elif key in LISTS and len(rest) == 1 and rest != ["class_path"] and as_list(section.get(key)):
        *others, last = as_list(section[key])
        block = class_block(f"trainer.{key}", last)
        arguments = as_block(f"trainer.{key}.init_args", block.get("init_args"))
        block["init_args"] = {**arguments, rest[0]: value}
        section[key] = [*others, block] if isinstance(section[key], list) else block
    else:
        check_texts(value)


def _appended(section: dict[str, Any], name: str, key: str, value: Any) -> Any:
    if not name.endswith("+"):
        return value
    below = section.get(key)
    if not isinstance(below, list | None) and key not in LISTS:
        raise UserError(f"option {name} appends to a list, and {key} is {below!r}")
    return [*as_list(below), *as_list(value)]


def class_block(key: str, value: Any) -> dict[str, Any]:
    """A class and its arguments as a mapping; a class may be given by its name alone."""
    return as_block(key, {"class_path": value} if isinstance(value, str) else value)


def as_block(key: str, value: Any) -> dict[str, Any]:
    """A mapping, empty where there is nothing.

    Raises:
        UserError: something else stands there.
    """
    if value is not None and not isinstance(value, dict):
        raise UserError(f"{key} must be a mapping of keys to values; it is {value!r}")
    return dict(value or {})


def as_list(value: Any) -> list[Any]:
    """A list, of one item where a single one is given."""
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]
