"""What the constructor of a class takes: names, types and defaults."""

from __future__ import annotations

import collections.abc
import datetime
import functools
import inspect
import os
import sys
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonargparse

from experiments.core.trust import OURS


@dataclass(frozen=True)
class Argument:
    """An argument of a constructor; `empty` of `inspect.Parameter` stands for a type or a default that is not there."""

    hint: Any
    default: Any

    @property
    def takes_none(self) -> bool:
        """Whether null is one of its values."""
        kinds = typing.get_args(self.hint)
        return self.default is None or self.hint in (Any, inspect.Parameter.empty, None) or types.NoneType in kinds

    @property
    def words(self) -> str:
        """Its type, for a message."""
        return self.hint.__name__ if isinstance(self.hint, type) else str(self.hint).replace("typing.", "")


@functools.cache
def arguments_of(cls: type) -> dict[str, Argument]:
    """The arguments of a constructor, and of the constructors that it hands its `**kwargs` on to."""
    found: dict[str, Argument] = {}
    for ancestor in inspect.getmro(cls):
        if "__init__" not in vars(ancestor):
            continue
        parameters = list(inspect.signature(vars(ancestor)["__init__"]).parameters.values())[1:]
        for p in parameters:
            if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and p.name not in found:
                found[p.name] = Argument(_resolved(p.annotation, ancestor.__module__), p.default)
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            break
        if not ancestor.__module__.startswith(OURS):
            return {**_handed_on(ancestor), **found}
    return found


def parameters_of(cls: type) -> set[str]:
    """Names of the arguments of a constructor; see `arguments_of`."""
    return set(arguments_of(cls))


def _resolved(annotation: Any, module: str) -> Any:
    """Evaluate an annotation that is text; one of them may name what only a type checker imports."""
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        return typing.get_type_hints(holder, globalns=vars(sys.modules[module]))["it"]
    except (NameError, TypeError):
        return annotation


def _handed_on(cls: type) -> dict[str, Argument]:
    """The arguments of a class of others that takes any: those which the parser finds by reading its source."""
    parser = jsonargparse.ArgumentParser()
    parser.add_class_arguments(cls, "it", fail_untyped=False)
    defaults = parser.get_defaults(skip_validation=True).get("it")
    return (
        {name: Argument(inspect.Parameter.empty, default) for name, default in vars(defaults).items()}
        if defaults
        else {}
    )


PLAIN = (str, int, float, bool, types.NoneType, Path, os.PathLike, datetime.timedelta, Any, inspect.Parameter.empty)


def may_name_code(hint: Any) -> bool:
    """Whether a value of this type can be the path of a class or a function, which the parser would import."""
    kinds = typing.get_args(hint)
    if hint in PLAIN or typing.get_origin(hint) is typing.Literal:
        return False
    if typing.get_origin(hint) in (collections.abc.Callable, type) or hint is collections.abc.Callable:
        return True
    if kinds:
        return any(may_name_code(kind) for kind in kinds if kind is not ...)
    return not (isinstance(hint, type) and issubclass(hint, collections.abc.Collection))
