"""Which classes a config may name: the parser imports nothing else. Standard library only."""

from __future__ import annotations

import os
import re

from experiments.core import catalogue
from experiments.core.errors import UserError

OURS = ("lightning_modules", "datamodules", "experiments")
LIGHTNING = tuple(f"lightning.pytorch.{kind}" for kind in ("callbacks", "loggers", "profilers", "strategies"))
OPTION = "--allow-import"
HELP = "packages, modules or classes besides this project's and Lightning's that a config may name: mine,other.nets"
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
    """What may be imported besides the usual, as `allow` was told."""
    return os.environ.get(_VARIABLE, "")


def importable() -> list[str]:
    """Packages and modules whose classes a config may name."""
    topics = [f"experiments.{name}" for name in ("core.callbacks", *catalogue.names())]
    return ["lightning_modules", "datamodules", *topics, *LIGHTNING, *filter(None, allowed().split(","))]


def check_allowed(path: str) -> None:
    """Refuse the dotted path of a class from elsewhere: to resolve it, its module would be imported.

    Raises:
        UserError: it is on no list, and nobody has allowed it.
    """
    if not any(f"{path}.".startswith(f"{name}.") for name in importable()):
        raise UserError(refusal(path))


def refusal(path: str) -> str:
    """What is said of a dotted path that is on no list."""
    hint = f"; {OPTION} {path.partition('.')[0]} allows it" if PATH.fullmatch(path) else ""
    return f"class path '{path}' is neither this project's nor Lightning's, and is not imported{hint}"
