"""The commands of `python -m experiments`: what is asked for, checked, and handed to the module that does it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from experiments.core import allow_list, catalogue
from experiments.core.errors import TERMINATED, UserError, check_known, nearest
from experiments.core.interrupts import interrupts_wait

TRAINING = {
    "fit": "train one network by the Lightning CLI",
    "validate": "evaluate a checkpoint on the validation split",
    "test": "evaluate a checkpoint on the test split",
    "predict": "write a checkpoint's predictions for the test split",
}


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message)


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


OVERRIDES = ("--model.", "--data.", "--trainer.")
RUN_OPTIONS: dict[str, dict[str, Any]] = {
    "--scale": {"default": "quick", "help": f"one of {', '.join(catalogue.SCALES)} (default: quick)"},
    "--seeds": {"type": _count, "help": "paired seeds (default: the experiment's own, 10; at smoke 2, at full 20)"},
    "--jobs": {"type": _count, "default": 2, "help": "worker processes (default: 2)"},
    "--logger": {"default": "tensorboard", "help": f"one of {', '.join(catalogue.LOGGERS)} (default: tensorboard)"},
    "--data": {"help": "one of the experiment's data sets (default: its first)"},
    "--first-seed": {"type": _seed, "default": 1000, "help": "other seeds than the official ones (default: 1000)"},
    "--runs": {"default": "runs", "help": "where results are kept (default: runs)"},
    allow_list.OPTION: {"default": "", "metavar": "NAME", "help": allow_list.HELP},
}

EXPERIMENT = ("run", "report", "reference", "verify")
VERIFY_OPTIONS: dict[str, dict[str, Any]] = {
    "--exact": {"action": "store_true", "help": "only the exact claims, which need no training"},
    "--keep": {"action": "store_true", "help": "keep the answers of another seed set in the experiment's folder"},
}

BENCH_OPTIONS: dict[str, dict[str, Any]] = {
    "--only": {"default": "", "help": "the rows whose name contains this (default: all)"},
    "--out": {"default": "runs", "help": "folder of bench.json (default: runs)"},
    "--keep": {"action": "store_true", "help": "keep the figures in the repository, and show them in the README"},
    "--gpu": {"action": "store_true", "help": "the rows of a GPU instead: stacks, bf16 and torch.compile there"},
}

PICTURE_OPTIONS: dict[str, dict[str, Any]] = {
    "--data": {"default": "FashionMNIST", "help": "a data set of images (default: FashionMNIST); `data` lists them"},
    "--policy": {
        "default": "autoaugment_svhn",
        "help": "as in a data set's option `augmentation`: shift(3) (default: autoaugment_svhn)",
    },
    "--seed": {"type": int, "default": 1000, "help": "chooses the images and the draws (default: 1000)"},
    "--rows": {"type": _count, "default": 3, "help": "rows of the picture (default: 3)"},
    "--size": {"type": _count, "help": "side of the images, where the data set has this option: 28"},
    "--out": {"help": "the file: .png, .svg or .pdf (default: one in runs/augmentations)"},
}


def main(args: Sequence[str]) -> int:
    """Run one command and return its exit code: 0, 1 if a run failed, 2 for a user's mistake, 130 after Ctrl-C.

    After SIGTERM, by which a scheduler asks a process to end, it is 143, and what was trained is saved.
    """
    allow_list.allow("")
    try:
        return _dispatch(list(args))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        kept = "; what is finished is kept, and the same command goes on from there" if args[0] == "run" else ""
        print(f"interrupted{kept}", file=sys.stderr)
        return 130
    except OSError as error:
        # The machine's fault, and no mistake: a disk that is full, above all.
        place = f": '{error.filename}'" if error.filename else ""
        print(f"error: {error.strerror or error}{place}", file=sys.stderr)
        return 1
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "allocate memory" not in str(error):
            raise
        print(f"error: out of memory: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except SystemExit as end:
        if type(end).__name__ != "SIGTERMException":  # Lightning's, which need not have been imported
            raise
        print("terminated; the same command in the same directory goes on from there", file=sys.stderr)
        return TERMINATED


def _dispatch(args: list[str]) -> int:
    if args and args[0] in TRAINING:
        with interrupts_wait():
            from experiments.core.cli import run_cli

        run_cli(args[0], args[1:])
        return 0
    parser = _build_parser()
    commands = [*TRAINING, *EXPERIMENT, "list", "claims", "data", "augmentations", "glossary", "bench"]
    if args and not args[0].startswith("-"):
        check_known("command", args[0], commands)
    names = [word.partition("=")[0] for word in args if word.startswith("--")]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise UserError(f"option {twice} is given twice")
    options, extra = parser.parse_known_args(args)
    if extra and not (options.command in ("run", "report") and all(_is_override(word) for word in extra)):
        word = next(word for word in extra if not (options.command in ("run", "report") and _is_override(word)))
        if word.startswith(OVERRIDES) and "=" not in word:
            raise UserError(f"option {word} needs its value in the same word: {word}=VALUE")
        own = {"augmentations": PICTURE_OPTIONS, "bench": BENCH_OPTIONS, **dict.fromkeys(EXPERIMENT, RUN_OPTIONS)}
        own["verify"] = {**RUN_OPTIONS, **VERIFY_OPTIONS}
        known = [*own.get(options.command, ()), "--help"]
        raise UserError(f"unknown option '{word}'; {nearest(word.partition('=')[0], known)}")
    if options.command is None:
        parser.print_help()
        return 0
    if options.command == "list":
        return _list()
    if options.command == "claims":
        return _claims(options.experiment)
    if options.command == "data":
        with interrupts_wait():
            from experiments.core import data

        return data.show(options.name) if options.name else data.show_all()
    if options.command == "augmentations":
        with interrupts_wait():
            from experiments.core import augmentations

        return augmentations.draw(**{name: value for name, value in vars(options).items() if name != "command"})
    if options.command == "bench":
        with interrupts_wait():
            from experiments.core.bench import run as bench

        return bench.run(Path(options.out), only=options.only, keep=options.keep, gpu=options.gpu)
    if options.command == "glossary":
        with interrupts_wait():
            from experiments.core import glossary

        print(glossary.write())
        return 0
    check_known("experiment", options.experiment, [*catalogue.names(), catalogue.ALL])
    from experiments.core import plan, runner

    allow_list.allow(options.allow_import)
    choice = plan.Options(
        scale=options.scale,
        seeds=options.seeds,
        jobs=options.jobs,
        logger=options.logger,
        data=options.data,
        first_seed=options.first_seed,
        overrides=tuple(extra),
        runs=Path(options.runs),
    )
    if options.command == "verify":
        return runner.verify(options.experiment, choice, only_exact=options.exact, keep_answers=options.keep)
    action = {"run": runner.run, "report": runner.report, "reference": runner.keep}[options.command]
    return action(options.experiment, choice)


def _is_override(word: str) -> bool:
    return word.startswith(OVERRIDES) and "=" in word


def _build_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m experiments",
        description="A lecture you can run, and that can be wrong.",
        epilog="training by the Lightning CLI: "
        + "; ".join(f"{name}: {text}" for name, text in TRAINING.items())
        + ". Each has its own --help.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(
        dest="command",
        metavar="{run,report,verify,list,claims,reference,glossary,data,augmentations,bench,fit,validate,test,predict}",
    )
    chosen = _Parser(add_help=False, allow_abbrev=False)
    chosen.add_argument("experiment", help="its name, or all; `list` shows them")
    for name, arguments in RUN_OPTIONS.items():
        chosen.add_argument(name, **arguments)
    every = "Further options --model.NAME=VALUE, --data.NAME=VALUE and --trainer.NAME=VALUE change every run."
    again = "draw the report again from the results"
    commands.add_parser(
        "run", help="run an experiment and judge its claims", parents=[chosen], epilog=every, allow_abbrev=False
    )
    commands.add_parser("report", help=again, parents=[chosen], epilog=every, allow_abbrev=False)
    compare = "run again beside the results, and compare with the reference"
    verify = commands.add_parser("verify", help=compare, parents=[chosen], allow_abbrev=False)
    for name, arguments in VERIFY_OPTIONS.items():
        verify.add_argument(name, **arguments)
    keep = "keep the official results as the reference, for the README"
    commands.add_parser("reference", help=keep, parents=[chosen], allow_abbrev=False)
    commands.add_parser("list", help="list the experiments", allow_abbrev=False)
    claims = commands.add_parser("claims", help="list claims, as frozen before their run", allow_abbrev=False)
    claims.add_argument("experiment", nargs="?")
    commands.add_parser("glossary", help="write the glossary of MODULES.md again", allow_abbrev=False)
    data = commands.add_parser("data", help="list the data sets, or fetch one", allow_abbrev=False)
    data.add_argument("name", nargs="?", help="tell more about this one, and download it if it is not here")
    bench = commands.add_parser("bench", help="measure what training costs, as ratios", allow_abbrev=False)
    for name, arguments in BENCH_OPTIONS.items():
        bench.add_argument(name, **arguments)
    pictures = commands.add_parser("augmentations", help="draw what an augmentation does", allow_abbrev=False)
    for name, arguments in PICTURE_OPTIONS.items():
        pictures.add_argument(name, **arguments)
    return parser


def _list() -> int:
    for name in catalogue.names():
        experiment = catalogue.load(name)
        print(f"{name:16} {experiment.title}: {catalogue.summary(name)}")
        data = ", ".join(experiment.data)
        print(f"{'':16} {len(experiment.claims)} claims; data: {data}; make exp-{name.replace('_', '-')}")
    return 0


def _claims(name: str | None) -> int:
    for experiment in [name] if name else catalogue.names():
        for claim in catalogue.load(experiment).claims:
            given = {"above": claim.above, "below": claim.below, "within ±": claim.within, "tolerance": claim.tolerance}
            threshold = next(
                (f"{word} {value:g}" for word, value in given.items() if value is not None), "no threshold"
            )
            print(f"{claim.id:24} {claim.kind}, {threshold}, n = {claim.n}: {claim.statement}")
    return 0
