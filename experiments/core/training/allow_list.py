"""The import allow-list: the classes that a config may name. Standard library only."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator

from experiments.core.files.errors import UserError
from experiments.core.grid import catalogue

OURS = ("lightning_modules", "datamodules", "experiments")
# Lightning's classes that a config may name. Each was tried: runs with it are recorded, repeated and resumed exactly.
SUPPORTED: dict[str, tuple[str, ...]] = {
    "lightning.pytorch.callbacks": (
        "EarlyStopping",
        "LearningRateMonitor",
        "ModelCheckpoint",
        "ModelSummary",
        "RichModelSummary",
        "RichProgressBar",
        "TQDMProgressBar",
    ),
    "lightning.pytorch.loggers": ("CSVLogger", "TensorBoardLogger", "WandbLogger"),
    "lightning.pytorch.profilers": ("AdvancedProfiler", "PyTorchProfiler", "SimpleProfiler"),
    "lightning.pytorch.strategies": (),
    "lightning.pytorch.accelerators": (),
    "lightning.pytorch.plugins": (),
}
# Words that the trainer accepts instead of a class, by argument.
WORDS: dict[str, tuple[str, ...]] = {
    "accelerator": ("auto", "cpu", "cuda", "gpu", "mps"),
    "profiler": ("advanced", "pytorch", "simple"),
    "strategy": ("auto", "single_device"),
}
_BASE = "it does nothing by itself"
_FUNCTION = "it takes a function, and a config names none"
_ONE_DEVICE = "data in memory feed one device"
_SERVICE = "its numbers are kept by a service, and not in the run's directory"
_WEIGHTS = "the weights that are validated are not those that are kept"
# Reasons why other classes are not supported.
REASONS = {
    "BackboneFinetuning": _FUNCTION,
    "BaseFinetuning": _BASE,
    "BasePredictionWriter": _BASE,
    "BatchSizeFinder": "it trains with another batch size than the config says",
    "Callback": _BASE,
    "Checkpoint": _BASE,
    "DeviceStatsMonitor": "it logs what the machine does, which no run repeats",
    "EMAWeightAveraging": _WEIGHTS,
    "GradientAccumulationScheduler": "it changes how many batches make a step; trainer.accumulate_grad_batches is kept",
    "LambdaCallback": _FUNCTION,
    "LearningRateFinder": "it trains with another learning rate than the config says",
    "ModelPruning": "it renames the weights, so that no checkpoint of them can be loaded",
    "OnExceptionCheckpoint": "a run that was cut off is resumed without it",
    "ProgressBar": _BASE,
    "SpikeDetection": "Divergence ends a run whose loss is not finite",
    "StochasticWeightAveraging": "its stored config cannot be run again",
    "ThroughputMonitor": _FUNCTION,
    "Timer": "trainer.max_time does the same",
    "WeightAveraging": _WEIGHTS,
    "CometLogger": _SERVICE,
    "LitLogger": _SERVICE,
    "Logger": _BASE,
    "MLFlowLogger": _SERVICE,
    "PassThroughProfiler": _BASE,
    "Profiler": _BASE,
    "XLAProfiler": "it needs a TPU, on which nothing was tried",
    "DDPStrategy": _ONE_DEVICE,
    "DeepSpeedStrategy": _ONE_DEVICE,
    "FSDPStrategy": _ONE_DEVICE,
    "ModelParallelStrategy": _ONE_DEVICE,
    "ParallelStrategy": _ONE_DEVICE,
    "SingleDeviceStrategy": "trainer.strategy single_device is the same",
    "Strategy": _BASE,
}
_UNTRIED = "nobody has tried whether its runs are recorded, repeated and resumed"
HELP = "packages, modules or classes besides this project's and Lightning's that a config may name: mine,other.nets"
# Holds the value of `--allow-import` for this process and its workers.
_VARIABLE = "RUNNABLE_LECTURE_ALLOW_IMPORT"
PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")


def allow(names: str) -> None:
    """Allow these packages, modules or classes, instead of those allowed before.

    Args:
        names: dotted names, separated by commas; may be empty.

    Raises:
        UserError: one is not a dotted name.
    """
    for name in names.split(",") if names else []:
        if not all(word.isidentifier() for word in name.split(".")):
            raise UserError(
                f"{catalogue.ALLOW_IMPORT} takes the name of a package, a module or a class; it is '{name}'"
            )
    os.environ[_VARIABLE] = names


def allowed() -> str:
    """Return the names that `allow` has set."""
    return os.environ.get(_VARIABLE, "")


def importable() -> list[str]:
    """Return the packages, modules and classes that a config may name."""
    topics = [f"experiments.{name}" for name in ("core.callbacks", *catalogue.names())]
    classes = [f"{package}.{name}" for package, names in SUPPORTED.items() for name in names]
    named = [*classes, *filter(None, allowed().split(","))]
    return ["lightning_modules", "datamodules", *topics, *named, *_defined(named)]


def _defined(paths: list[str]) -> Iterator[str]:
    """Yield the paths where re-exported classes are defined, which the parser asks for too; import nothing."""
    for path in paths:
        module, _, name = path.rpartition(".")
        found = getattr(sys.modules.get(module), name, None)
        if isinstance(found, type):
            yield f"{found.__module__}.{found.__qualname__}"


def validate_allowed(path: str) -> None:
    """Refuse a class path that is not on the allow-list, before its module is imported.

    Raises:
        UserError: the path is not allowed.
    """
    if not any(f"{path}.".startswith(f"{name}.") for name in importable()):
        raise UserError(refusal_of(path))


def validate_word(argument: str, word: str) -> None:
    """Refuse a word for which the trainer would build an unsupported class; the trainer refuses unknown words.

    Raises:
        UserError: the class is not supported.
    """
    known = {"accelerator": ("tpu",), "profiler": ("xla",)}.get(argument, (word,))
    if word in known and word not in WORDS[argument] and "lightning" not in allowed().split(","):
        reason = _ONE_DEVICE if argument == "strategy" else REASONS["XLAProfiler"]
        raise UserError(
            f"trainer.{argument} {word} is not supported: {reason}; {catalogue.ALLOW_IMPORT} lightning allows it"
        )


def refusal_of(path: str) -> str:
    """Return the message that refuses a class path."""
    package = next((package for package in SUPPORTED if path.startswith(f"{package}.")), None)
    name = path.rpartition(".")[2]
    if package and name[:1].isupper():
        reason = REASONS.get(name, _UNTRIED)
        return f"Lightning's {name} is not supported: {reason}; {catalogue.ALLOW_IMPORT} {path} allows it"
    hint = f"; {catalogue.ALLOW_IMPORT} {path.partition('.')[0]} allows it" if PATH.fullmatch(path) else ""
    return f"class path '{path}' is neither this project's nor Lightning's, and is not imported{hint}"
