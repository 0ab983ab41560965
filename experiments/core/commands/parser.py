"""Parses the command line of `python -m experiments` and calls the module of the command."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from experiments.core.files.errors import (
    BROKEN_PIPE,
    TERMINATED,
    TRACEBACK,
    UserError,
    check_known,
    explain,
    interrupts_wait,
    nearest,
)
from experiments.core.grid import catalogue
from experiments.core.training import allow_list

TRAINING = {
    "fit": "train one network by the Lightning CLI",
    "validate": "evaluate a checkpoint on the validation split",
    "test": "evaluate a checkpoint on the test split",
    "predict": "write a checkpoint's predictions for the test split",
}
OVERRIDES = ("--model.", "--data.", "--trainer.")

Arguments = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Command:
    """Help and arguments of a command."""

    help: str
    arguments: Arguments = field(default_factory=dict)  # as `add_argument` takes them
    overrides: bool = False  # whether --model.NAME=VALUE and the like change every run


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message)


def main(args: Sequence[str]) -> int:
    """Run one command and return its exit code: 0, 1 if a run failed, 2 for a user's mistake, 130 after Ctrl-C.

    After SIGTERM, by which a scheduler asks a process to end, it is 143, and what was trained is saved. Where nobody
    reads the output any more, it is 141. `--traceback`, anywhere, shows where an error comes from.
    """
    allow_list.allow("")
    words = [word for word in args if word != TRACEBACK]
    try:
        code = _dispatch(words)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        kept = "; what is finished is kept, and the same command goes on from there" if words[0] == "run" else ""
        print(f"interrupted{kept}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Discard buffered output: flushing it at exit would raise again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    # The last resort: print one line, and keep the trace in a file.
    except Exception as error:
        if TRACEBACK in args:
            traceback.print_exception(error)
        line, code = explain(error)
        print(f"error: {line}", file=sys.stderr)
        return code
    except SystemExit as end:
        if type(end).__name__ != "SIGTERMException":  # Lightning's, which need not have been imported
            raise
        print("terminated; the same command in the same directory goes on from there", file=sys.stderr)
        return TERMINATED


def _dispatch(args: list[str]) -> int:
    if args and args[0] in TRAINING:
        _import_function("experiments.core.training.cli", "run_cli")(args[0], args[1:])
        return 0
    if args and not args[0].startswith("-"):
        check_known("command", args[0], [*TRAINING, *COMMANDS])
    names = [word.partition("=")[0] for word in args if word.startswith("--")]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise UserError(f"option {twice} is given twice")
    parser = _build_parser()
    options, further = parser.parse_known_args(args)
    command = COMMANDS.get(options.command)
    for word in further:
        overrides = word.startswith(OVERRIDES)
        if command and command.overrides and overrides and "=" in word:
            continue
        if overrides and "=" not in word:
            raise UserError(f"option {word} needs its value in the same word: {word}=VALUE")
        known = [name for name in command.arguments if name.startswith("-")] if command else []
        raise UserError(f"unknown option '{word}'; {nearest(word.partition('=')[0], [*known, '--help'])}")
    if command is None:
        parser.print_help()
        return 0
    experiment = getattr(options, "experiment", None)
    if experiment is not None:
        check_known("experiment", experiment, [*catalogue.names(), catalogue.ALL])
    options.overrides = tuple(further)
    return int(_import_function(f"experiments.core.commands.{options.command}", "call")(options))


def _build_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m experiments",
        description="A lecture you can run, and that can be wrong.",
        epilog="training by the Lightning CLI: "
        + "; ".join(f"{name}: {text}" for name, text in TRAINING.items())
        + f". Each has its own --help. {TRACEBACK} shows where an error comes from.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar=f"{{{','.join([*COMMANDS, *TRAINING])}}}")
    every = "Further options --model.NAME=VALUE, --data.NAME=VALUE and --trainer.NAME=VALUE change every run."
    for name, command in COMMANDS.items():
        epilog = every if command.overrides else None
        own = commands.add_parser(name, help=command.help, epilog=epilog, allow_abbrev=False)
        for argument, settings in command.arguments.items():
            own.add_argument(argument, **settings)
    return parser


def _import_function(module: str, name: str) -> Callable[..., Any]:
    """Import a function just before its call: most commands need torch, `--help` does not."""
    with interrupts_wait():
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1; it is '{text}'") from None
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1; it is {number}")
    return number


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 0; it is '{text}'")
    return int(text)


RUN: Arguments = {
    "experiment": {"help": "its name, or all; `list` shows them"},
    "--scale": {"default": "quick", "help": f"one of {', '.join(catalogue.SCALES)} (default: quick)"},
    "--seeds": {"type": _count, "help": "paired seeds (default: the experiment's own, 10; at smoke 2, at full 20)"},
    "--jobs": {"type": _count, "default": 2, "help": "worker processes (default: 2)"},
    "--logger": {"default": "tensorboard", "help": f"one of {', '.join(catalogue.LOGGERS)} (default: tensorboard)"},
    "--data": {"help": "one of the experiment's data sets (default: its first)"},
    "--first-seed": {"type": _seed, "default": 1000, "help": "other seeds than the official ones (default: 1000)"},
    "--runs": {"default": "runs", "help": "where results are kept (default: runs)"},
    catalogue.ALLOW_IMPORT: {"default": "", "metavar": "NAME", "help": allow_list.HELP},
}
VERIFY: Arguments = {
    "--exact": {"action": "store_true", "help": "only the exact claims, which need no training"},
    "--keep": {"action": "store_true", "help": "keep the answers of another seed set in the experiment's folder"},
}
CLAIMS: Arguments = {"experiment": {"nargs": "?"}}
DATA: Arguments = {"name": {"nargs": "?", "help": "tell more about this one, and download it if it is not here"}}

# Each command calls the function `call` of the module with its name in this folder.
COMMANDS = {
    "run": Command("run an experiment and judge its claims", RUN, overrides=True),
    "report": Command("draw the report again from the results", RUN, overrides=True),
    "verify": Command("run again beside the results, and compare with the reference", {**RUN, **VERIFY}),
    "list": Command("list the experiments"),
    "claims": Command("list claims, as frozen before their run", CLAIMS),
    "reference": Command("keep the official results as the reference, for the README", RUN),
    "glossary": Command("write the glossary of MODULES.md again"),
    "data": Command("list the data sets, or fetch one", DATA),
}
