"""Reads YAML with bounds on its size, without duplicate keys, with errors of one line; merges overlays."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from experiments.core.files.errors import UserError, read_text, require_file

# A config of this project has two hundred lines; a file beyond these bounds is a mistake or an attack.
LARGEST_FILE = 1_000_000  # bytes
DEEPEST = 40  # mappings and lists within each other
LARGEST_CONTENT = 100_000  # keys and values, with aliases expanded


class TooLargeError(UserError):
    """A text would expand to more than a config can contain."""


_TAG = "tag:yaml.org,2002:"


class StrictLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A safe loader that refuses duplicate keys, of which YAML itself would keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Build a mapping whose keys are words, without duplicates."""
        seen: set[str] = set()
        for key_node, _ in node.value:
            if key_node.tag == f"{_TAG}merge":
                continue
            key, line = self.construct_object(key_node, deep=True), key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise UserError(f"line {line}: a key must be a word; put {key!r} in quotes if it is one")
            if key in seen:
                raise UserError(f"line {line}: key '{key}' is given twice")
            seen.add(key)
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        return mapping


# Unlike YAML 1.1: 1e-3 is a number, and 12:00:00 is a text, not a number to the base 60.
_REPLACED = {f"{_TAG}{kind}" for kind in ("timestamp", "int", "float")}
StrictLoader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] not in _REPLACED]
    for first, pairs in StrictLoader.yaml_implicit_resolvers.items()
}
StrictLoader.add_implicit_resolver(
    f"{_TAG}int",
    re.compile(r"^[-+]?(0b[01_]+|0x[\da-fA-F_]+|0[0-7_]*|[1-9][\d_]*)$"),
    list("-+0123456789"),
)
StrictLoader.add_implicit_resolver(
    f"{_TAG}float",
    re.compile(
        r"^([-+]?(\d[\d_]*\.[\d_]*|\.\d[\d_]*)([eE][-+]?\d+)?|[-+]?\d+[eE][-+]?\d+|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)


def parse_yaml(text: str) -> Any:
    """Read YAML, and bound its size before anything is built.

    Raises:
        UserError: a key is given twice or is no word, or the text is no YAML that a config needs; the message begins
            with the line.
    """
    try:
        _check_bounds(text)
        return yaml.load(text, Loader=StrictLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise UserError(f"{where}not YAML: {' '.join(str(getattr(error, 'problem', error)).split())}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"not YAML: {' '.join(str(error).split())}") from None


def _check_bounds(text: str) -> None:
    """Count the objects that a text would build, from its events, which take no memory."""
    sizes: dict[str, int] = {}  # size of the content of each anchor
    open_parts: list[tuple[str | None, int]] = []  # anchor, and the size before it
    total = 0
    event: Any
    for event in yaml.parse(text, Loader=StrictLoader):
        line, anchor = event.start_mark.line + 1, getattr(event, "anchor", None)
        if getattr(event, "tag", None) is not None:
            raise UserError(f"line {line}: '{event.tag}' is a tag, and a config has none")
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise UserError(f"line {line}: '*{event.anchor}' stands for nothing that ends before it")
            total += sizes[event.anchor]
        elif isinstance(event, yaml.CollectionStartEvent):
            open_parts.append((anchor, total))
            total += 1
            if len(open_parts) > DEEPEST:
                raise TooLargeError(f"line {line}: more than {DEEPEST} mappings and lists within each other")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_parts.pop()
            if anchor:
                sizes[anchor] = total - before
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            if anchor:
                sizes[anchor] = 1
        if total > LARGEST_CONTENT:
            raise TooLargeError(f"line {line}: more than {LARGEST_CONTENT} keys and values")


def check_texts(key: str, value: Any) -> None:
    """Refuse a text, at any depth, that is too large to parse: jsonargparse parses texts again, without bounds.

    Raises:
        UserError: a text is too large.
    """
    if isinstance(value, str):
        try:
            _check_bounds(value)
        except TooLargeError as error:
            raise UserError(f"{key}: {error}") from None
        except (UserError, yaml.YAMLError, UnicodeError):
            pass  # it is no YAML that takes place
    elif isinstance(value, dict | list):
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            check_texts(f"{key}.{name}" if key else str(name), item)


def load_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML file whose top level is a mapping.

    Raises:
        UserError: the file does not exist, is too large, is not YAML, is not a mapping, or has a key twice.
    """
    require_file(path, "config file", ".yaml")
    if path.stat().st_size > LARGEST_FILE:
        raise UserError(f"config file '{path}' has more than {LARGEST_FILE} bytes")
    try:
        content = parse_yaml(read_text(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"config file '{path}' cannot be read: {reason}") from None
    except UserError as error:
        raise UserError(f"config file '{path}', {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"config file '{path}' holds no mapping of keys to values")
    return content


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge one config into another, key by key, as the Lightning CLI does with several `--config`.

    A class with another `class_path` replaces the one below with its arguments; `callbacks+` appends.

    Raises:
        UserError: a key with `+` does not append a list to a list.
    """
    merged = dict(below)
    for key, value in above.items():
        if key.endswith("+"):
            parts = (merged.get(key[:-1]), value)
            if any(isinstance(part, int | float) for part in parts) or value is None:
                raise UserError(f"'{key}' appends to a list; '{key[:-1]}' is {parts[0]!r}, and what is added {value!r}")
            merged[key[:-1]] = [item for part in parts for item in as_list(part)]
        elif isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            other_class = "class_path" in value and value["class_path"] != merged[key].get("class_path")
            merged[key] = merge({} if other_class else merged[key], value)
        else:
            # A section that is new in this overlay may still append to lists.
            merged[key] = merge({}, value) if isinstance(value, Mapping) else value
    return merged


def as_list(value: Any) -> list[Any]:
    """Return a list: a single item becomes a list of one, None an empty list."""
    return list(value) if isinstance(value, list) else [value] if value else []


def parse_value(text: str) -> Any:
    """Read the value of a command line option as YAML; a value that is not YAML stays a text.

    So does a word in braces, which is the pattern of a file name: `{epoch}`.
    """
    try:
        value = parse_yaml(text)
    except UserError:
        return text
    is_pattern = isinstance(value, dict) and bool(value) and all(part is None for part in value.values())
    return text if is_pattern else value
