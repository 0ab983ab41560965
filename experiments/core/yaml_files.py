"""YAML as the experiments use it: no key twice, errors in one line, overlays merged key by key."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from experiments.core.errors import UserError, nearest


class _StrictLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A safe loader that refuses a key given twice, where YAML itself would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                line = key_node.start_mark.line + 1
                raise UserError(f"line {line}: a key must be a word; put {key!r} in quotes if it is one")
            if key in seen:
                raise UserError(f"line {key_node.start_mark.line + 1}: key '{key}' is given twice")
            seen.add(key)
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        return mapping


# YAML 1.1 reads 1e-3 as a string; like jsonargparse, read it as the number that is meant.
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def load_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML file whose top level is a mapping.

    Raises:
        UserError: the file does not exist, is not YAML, is not a mapping, or has a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        siblings = [str(other) for other in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
        hint = f"; {nearest(str(path), siblings)}" if siblings else ""
        raise UserError(f"config file '{path}' does not exist{hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"config file '{path}' cannot be read: {error}") from None
    try:
        content = yaml.load(text, Loader=_StrictLoader)
    except UserError as error:
        raise UserError(f"config file '{path}', {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", error)).split())
        raise UserError(f"config file '{path}' is not YAML{where}: {problem}") from None
    if not isinstance(content, dict):
        raise UserError(f"config file '{path}' holds no mapping of keys to values")
    return content


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one config over another, key by key, as the Lightning CLI does with several `--config`.

    A class with another `class_path` replaces the one below with its arguments; `callbacks+` appends.

    Raises:
        UserError: something that is no list is to be appended to, or to be appended.
    """
    merged = dict(below)
    for key, value in above.items():
        if key.endswith("+"):
            parts = (merged.get(key[:-1]), value)
            if any(isinstance(part, int | float) for part in parts) or value is None:
                raise UserError(f"'{key}' appends to a list; '{key[:-1]}' is {parts[0]!r}, and what is added {value!r}")
            merged[key[:-1]] = [
                item for part in parts for item in (part if isinstance(part, list) else [part] if part else [])
            ]
        elif isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            other_class = "class_path" in value and value["class_path"] != merged[key].get("class_path")
            merged[key] = merge({} if other_class else merged[key], value)
        else:
            # What lies above nothing may still append to lists.
            merged[key] = merge({}, value) if isinstance(value, Mapping) else value
    return merged


def parse_value(text: str) -> Any:
    """Read the value of a command line option as values in the files are read; what is not YAML stays text."""
    try:
        return yaml.load(text, Loader=_StrictLoader)
    except yaml.YAMLError:
        return text
