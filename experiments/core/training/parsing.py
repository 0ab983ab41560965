"""Parses configs with the Lightning CLI's parser, and shortens its error messages to one line."""

from __future__ import annotations

import argparse
import contextlib
import copy
import functools
import json
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jsonargparse import Namespace, set_parsing_settings
from lightning import LightningDataModule, LightningModule
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI

from datamodules.files import DISK_ERRORS
from experiments.core.callbacks.recorder import Recorder
from experiments.core.files.errors import UserError, is_out_of_memory
from experiments.core.grid import catalogue
from experiments.core.training import allow_list
from experiments.core.training.classes import find_class
from experiments.core.training.command_line import THREADS
from experiments.core.training.config import validate_config, with_defaults, with_modes
from lightning_modules.base import LectureModule

LONGEST = 350  # characters of a parser error that no rule below shortens


# Cached by allow-list, subcommand and whether the parser prints help.
_PARSERS: dict[tuple[Any, ...], LightningArgumentParser] = {}


class _Parser(LightningArgumentParser):
    """Reads a text in the place of a class as the name of the class, never as the name of a file."""

    def add_class_arguments(self, *args: Any, **kwargs: Any) -> list[str]:
        """Add the arguments of a class; none may name a config file."""
        added: list[str] = super().add_class_arguments(*args, **{**kwargs, "sub_configs": False})
        return added


class ParsedConfig(LightningCLI):
    """A config after parsing: types are validated and defaults filled in; nothing is built.

    Args:
        config: the merged files and options; or words that ask for the parser's help.
        subcommand: fit, validate, test or predict.
        parsed: whether the config is already `resolved`, so that it needs no parsing.

    Raises:
        UserError: the parser refuses the config.
    """

    def __init__(
        self, config: Mapping[str, Any] | Sequence[str], subcommand: str = "fit", *, parsed: bool = False
    ) -> None:
        self.parsed: Mapping[str, Any] = config if parsed and isinstance(config, Mapping) else {}
        self.stage, self.helps = subcommand, not isinstance(config, Mapping)
        if isinstance(config, Mapping) and not parsed:
            config = with_modes(config)
        trainer = (config.get("trainer") or {}) if isinstance(config, Mapping) else {}
        # `int | float` equals `float | int`: whichever Python cached first decides whether the parser turns 1 into 1.0,
        # and for limit_train_batches 1 is one batch and 1.0 is all of them.
        self.numbers = {key: value for key, value in trainer.items() if type(value) in (int, float)}
        set_parsing_settings(
            import_path_denylist=["*"],
            import_path_allowlist=allow_list.importable(),
            # Only the help shows the docstrings of fields; parsing them takes time.
            docstring_parse_attribute_docstrings=self.helps,
        )
        super().__init__(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=Recorder,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            # Every config names a seed; with this default, `--help` does not draw one.
            seed_everything_default=False,
            parser_kwargs={
                "prog": f"python -m experiments {subcommand}",
                "exit_on_error": False,
                "allow_abbrev": False,
            },
            run=False,
            parser_class=_Parser,
            # The parser modifies its input.
            args=copy.deepcopy(dict(config)) if isinstance(config, Mapping) else list(config),
        )

    def setup_parser(self, add_subcommands: bool, *parser_kwargs: dict[str, Any]) -> None:
        """Build the parser once a process for each allow-list: it takes as long as some epochs of a small network."""
        key = (allow_list.allowed(), self.stage, self.helps)
        if key in _PARSERS:
            self.parser = _PARSERS[key]
        else:
            super().setup_parser(add_subcommands, *parser_kwargs)
            _PARSERS[key] = self.parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add to the help the options that `command_line` reads."""
        parser.add_argument("--ckpt_path", type=str | None, help="checkpoint to begin from, or to evaluate")
        parser.add_argument(catalogue.ALLOW_IMPORT, type=str | None, metavar="NAME", help=allow_list.HELP)
        parser.add_argument(THREADS, type=int, default=1, help="threads of torch; more than 1 may change last digits")

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse the config; an error is one line."""
        if self.parsed:
            # Parsing takes as long as some epochs of a small network.
            trainer = _namespace({name: _built_later(part) for name, part in self.parsed["trainer"].items()})
            self.config = _namespace(
                {**{name: _built_later(part) for name, part in self.parsed.items()}, "trainer": trainer}
            )
            return
        try:
            self.config = parser.parse_object(args) if isinstance(args, dict) else parser.parse_args(args)  # type: ignore[arg-type]
        except argparse.ArgumentError as error:
            raise UserError(shorten_parser_error(str(error))) from None
        for function in _functions(self.config):
            raise UserError(f"a config names classes and no functions, such as {function}")

    @functools.cached_property
    def resolved(self) -> dict[str, Any]:
        """The config as plain mappings, without the directory of the run."""
        plain: Mapping[str, Any] = self.parsed or json.loads(
            self.parser.dump(self.config, skip_unset=False, skip_validation=True, format="json")
        )
        trainer = {**plain["trainer"], **self.numbers, "default_root_dir": None}
        return {name: plain[name] for name in ("seed_everything", "model", "data")} | {"trainer": trainer}

    def instantiate_classes(self) -> None:
        """Build nothing."""


def _built_later(value: Any) -> Any:
    """Return a value whose class blocks, at any depth, are namespaces that the parser can instantiate."""
    if isinstance(value, list):
        return [_built_later(item) for item in value]
    if not isinstance(value, dict) or "class_path" not in value:
        return value
    arguments = {name: _built_later(item) for name, item in (value.get("init_args") or {}).items()}
    return _namespace({"class_path": value["class_path"], "init_args": _namespace(arguments)})


def _namespace(values: Mapping[str, Any]) -> Namespace:
    return Namespace(dict(values))  # type: ignore[no-untyped-call]


def _functions(value: Any) -> Iterator[str]:
    """Yield the names of the functions in a parsed config."""
    if isinstance(value, Namespace | dict):
        for item in (vars(value) if isinstance(value, Namespace) else value).values():
            yield from _functions(item)
    elif isinstance(value, list):
        for item in value:
            yield from _functions(item)
    elif callable(value):
        yield getattr(value, "__qualname__", str(value))


def resolve(config: Mapping[str, Any], *, build: bool = False) -> dict[str, Any]:
    """Return a config with every default filled in, as plain mappings; a run stores it as `config.yaml`.

    The result is cached and must not be modified.

    Args:
        config: the merged files and options.
        build: build network, data module, callbacks and loggers as well, which finds values out of range.

    Raises:
        UserError: the first mistake found.
    """
    return _resolve(json.dumps(config), build, allow_list.allowed())


@functools.lru_cache(maxsize=256)
def _resolve(text: str, build: bool, allowed: str) -> dict[str, Any]:
    del allowed  # part of the cache key
    silence_lightning()
    config = json.loads(text)
    validate_config(config)
    parsed = ParsedConfig(with_defaults(config))
    if build:
        with as_user_error():
            built = parsed.parser.instantiate_classes(parsed.config)
            if isinstance(built.model, LectureModule):
                built.model.set_sizes(built.data)
    return parsed.resolved


def load_data(section: Mapping[str, Any], seed: int) -> None:
    """Build the data module of a resolved config and load its data, with a download if needed.

    Raises:
        UserError: the data are not on this machine and cannot be downloaded.
    """
    with as_user_error():
        _data(section, seed).setup("fit")


def build(config: Mapping[str, Any], seed: int) -> LightningModule:
    """Build data module and network of a resolved config, without reading data.

    Raises:
        UserError: a value is out of range.
    """
    model, data = config["model"], config["data"]
    with as_user_error():
        module: LightningModule = find_class("model", model["class_path"])(**model["init_args"])
        if isinstance(module, LectureModule):
            module.set_sizes(_data(data, seed))
    return module


def _data(section: Mapping[str, Any], seed: int) -> LightningDataModule:
    module: LightningDataModule = find_class("data", section["class_path"])(**{**section["init_args"], "seed": seed})
    return module


def silence_lightning() -> None:
    """Silence the messages that Lightning prints at every run; warnings that matter stay."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Profilers and model summaries report through these loggers.
    for name in ("profilers", "callbacks.model_summary"):
        logging.getLogger(f"lightning.pytorch.{name}").setLevel(logging.INFO)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
    # A checkpoint may be evaluated, or continued, in another directory than its own.
    warnings.filterwarnings("ignore", message="The dirpath has changed")


def shorten_parser_error(message: str) -> str:
    """Shorten a parser error of many lines to the key, the expected type and the value given."""
    denied = re.search(r"Importing '([^']+)' is not allowed", message)
    if denied:
        return allow_list.refusal_of(denied[1])
    keys = re.findall(r'[Kk]ey "([^"]+)"', message)
    missing = re.search(r"class_path '(?:\w+\.)*(\w+)':\s+the following arguments are required: ([^\n]+)", message)
    if keys and missing:
        return f"{keys[0]}: {missing[1]} needs {missing[2]}"
    # The keys are nested; the cause follows the innermost.
    inner = message[message.rfind(f'ey "{keys[-1]}"') :] if keys else ""
    expected = [
        word for word in re.findall(r"Expected an? (.+?)(?:\. Got value|\n|$)", inner) if "NoneType" not in word
    ]
    given = re.search(r"(?:Got|Given) value: ([^\n]+)", inner)
    strange = re.search(r"class_path '(?:\w+\.)*(\w+)':\s+Option '([^']+)' is not accepted", message)
    if keys and strange:
        return f"unknown key '{keys[0]}.{strange[2]}' of {strange[1]}"
    if not (expected and given):
        said = " ".join(message.partition("Given value")[0].split())
        if len(keys) > 1:
            said = f"{'.'.join(dict.fromkeys(keys))}: {inner.partition(':')[2].strip().partition(chr(10))[0]}"
        return said if len(said) < LONGEST else f"{said[:LONGEST]} …"
    named = r"<class '(?:\w+\.)*(\w+)'>|typing\.|Literal\[(.+)\]"
    wanted = " or ".join(dict.fromkeys(re.sub(named, r"\1\2", word) for word in expected))
    nested = re.fullmatch(r"NestedArg\(key='[^']+', val=(.+)\)", given[1])
    return f"{'.'.join(dict.fromkeys(keys))}: expected {wanted}; it is {nested[1] if nested else given[1]}"


@contextlib.contextmanager
def as_user_error() -> Iterator[None]:
    """Turn an error of a constructor into a UserError of one line."""
    try:
        yield
    # An ImportError names a package that only this class needs.
    except (ValueError, TypeError, OSError, ImportError, RuntimeError, MisconfigurationException) as error:
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            raise
        # Only a lack of memory is a mistake in the config; any other RuntimeError is a bug.
        if isinstance(error, RuntimeError) and not is_out_of_memory(error):
            raise
        raise UserError(" ".join(str(_cause(error)).split())) from error


def _cause(error: BaseException) -> BaseException:
    """Return the error of the constructor inside the parser's report."""
    inner = error.__cause__ or error.__context__
    return _cause(inner) if inner and str(error).startswith("Does not validate against any") else error
