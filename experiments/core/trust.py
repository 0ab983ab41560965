"""Whose code may be imported because a config names it; standard library only."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from typing import Any

from experiments.core.errors import UserError

OURS = ("lightning_modules", "datamodules", "experiments")
TRUSTED = (*OURS, "lightning", "torch")
OPTION = "--allow-import"
HELP = "packages, modules or classes outside this project, Lightning and torch that a config may name: mine,other.nets"
# What `--allow-import` names, for this process and the workers that it starts.
_VARIABLE = "RUNNABLE_LECTURE_ALLOW_IMPORT"
PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")


def allow(names: str) -> None:
    """Let the named packages, modules or classes be imported, in place of those named before.

    Args:
        names: dotted names, separated by commas; an empty text for none.

    Raises:
        UserError: one is no dotted name.
    """
    for name in names.split(",") if names else []:
        if not all(word.isidentifier() for word in name.split(".")):
            raise UserError(f"{OPTION} takes the name of a package, a module or a class; it is '{name}'")
    os.environ[_VARIABLE] = names


def allowed() -> str:
    """What may be imported besides the trusted packages, as `allow` was told."""
    return os.environ.get(_VARIABLE, "")


def check_trusted(path: str) -> None:
    """Refuse the path of a class or a function from elsewhere: to resolve it, its module would be imported.

    Raises:
        UserError: it lies outside this project, Lightning and torch, and nobody has allowed it.
    """
    package = path.partition(".")[0]
    if "." not in path or package in TRUSTED:
        return
    if not any(f"{path}.".startswith(f"{name}.") for name in allowed().split(",") if name):
        message = f"class path '{path}' lies outside this project, Lightning and torch, and is not imported"
        raise UserError(f"{message}; {OPTION} {package} allows it" if PATH.fullmatch(path) else message)


def check_texts(value: object) -> None:
    """Look for such paths in a value that may name code, at any depth.

    Raises:
        UserError: there is one.
    """
    if isinstance(value, str) and PATH.fullmatch(value):
        check_trusted(value)
    elif isinstance(value, dict):
        for item in value.values():
            check_texts(item)
    elif isinstance(value, list):
        for item in value:
            check_texts(item)


class ReadBefore(argparse.Action):
    """An option that the strict pass has read: it is shown by the help, and is no part of the config."""

    def __init__(self, option_strings: Sequence[str], dest: str, **shown: Any) -> None:
        super().__init__(option_strings, dest=argparse.SUPPRESS, default=argparse.SUPPRESS, **shown)

    def __call__(self, *_: Any) -> None:
        """Do nothing."""
