"""Every config of the repository, changed by one mistake: refused in one line, or trained exactly as it says."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightning import Trainer
from test_cli import BASES, OTHERS, QUIET, WHOLE, label, layers

from experiments.core.files.yaml import load_yaml, merge
from experiments.core.grid import catalogue
from experiments.core.training.classes import defaults_of, find_class
from experiments.core.training.cli import LectureCLI
from experiments.core.training.config import with_defaults

pytest_plugins = ["test_cli"]

LOGGERS = sorted((catalogue.ROOT / "core" / "configs").glob("*.yaml"))
FILES = [*BASES, *OTHERS, *LOGGERS]
Place = tuple[str | int, ...]
# Of these every value is one of a few words.
CHOICES = {
    *("activation", "initialization", "normalization", "optimizer", "schedule", "loss", "output_activation"),
    *("reduction", "head", "gradient", "function", "order", "mode", "monitor", "logging_interval", "augmentation"),
}


def below(path: Path) -> list[Path]:
    """The files that a config lies on, lowest first."""
    if path in LOGGERS:
        return [catalogue.ROOT / "vanishing" / "base.yaml"]
    alone = path in BASES or (path in WHOLE and path.parent.name == "architectures")
    return [] if alone else layers(path)[:-1]


@dataclass(frozen=True)
class Mutant:
    """A config with one mistake in it."""

    path: Path
    kind: str
    place: Place
    # The text is made where it is used: thousands are made up for the hundreds that are tried.
    text: Callable[[], str]
    # What a refusal_of has to name; nothing where it may be trained as it says.
    names: str = ""

    @property
    def id(self) -> str:
        return f"{label(self.path)}: {self.kind}, {'.'.join(map(str, self.place))}"


def leaves(value: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every value that is no mapping and no list of mappings, with its place."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, (*place, key))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for index, item in enumerate(value):
            yield from leaves(item, (*place, index))
    else:
        yield place, value


def parent_of(document: Any, place: Place) -> Any:
    for word in place[:-1]:
        document = document[word]
    return document


def changed(document: dict[str, Any], place: Place, value: Any) -> dict[str, Any]:
    """The document with another value at a place."""
    mutated = copy.deepcopy(document)
    parent_of(mutated, place)[place[-1]] = value
    return mutated


def as_text(document: dict[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False)


def said_twice(document: dict[str, Any], place: Place, value: Any) -> str:
    """The document as text, with one of its lines twice."""
    lines = as_text(changed(document, place, "MARK")).splitlines()
    index = next(index for index, line in enumerate(lines) if line.endswith(": MARK"))
    line = lines[index].replace("- ", "  ")
    text = "\n".join([*lines[: index + 1], line, *lines[index + 1 :]])
    return text.replace("MARK", yaml.safe_dump(value).splitlines()[0])


def misspelt(word: str) -> str:
    """Drop a letter in the middle; a short word doubles its last one."""
    middle = len(word) // 2
    return word + word[-1] if len(word) < 5 else word[:middle] + word[middle + 1 :]


# From a document, a place in it and the value there: mutated documents, and what the refusal_of of each names.
Make = Callable[[dict[str, Any], Place, Any], Iterator[tuple[dict[str, Any], str]]]


def misspell_key(document: dict[str, Any], place: Place, _value: Any) -> Iterator[tuple[dict[str, Any], str]]:
    for depth, key in enumerate(place):
        if isinstance(key, str) and not key.endswith("+"):
            mutated = copy.deepcopy(document)
            parent = parent_of(mutated, place[: depth + 1])
            parent[misspelt(key)] = parent.pop(key)
            yield mutated, key


def give_wrong_type(document: dict[str, Any], place: Place, value: Any) -> Iterator[tuple[dict[str, Any], str]]:
    wrong = ["several"] if isinstance(value, str) else "several"
    if value is not None:
        yield changed(document, place, wrong), str(place[-1])


def leave_the_range(document: dict[str, Any], place: Place, value: Any) -> Iterator[tuple[dict[str, Any], str]]:
    if type(value) in (int, float):
        yield changed(document, place, -3), ""
    elif isinstance(value, list) and value and type(value[0]) in (int, float):
        yield changed(document, place, [-3]), ""


def remove(document: dict[str, Any], place: Place, _value: Any) -> Iterator[tuple[dict[str, Any], str]]:
    mutated = copy.deepcopy(document)
    del parent_of(mutated, place)[place[-1]]
    yield mutated, ""


def duplicate(document: dict[str, Any], place: Place, value: Any) -> Iterator[tuple[dict[str, Any], str]]:
    if not isinstance(value, list):
        yield document, f"key '{place[-1]}' is given twice"


def nest_wrongly(document: dict[str, Any], place: Place, value: Any) -> Iterator[tuple[dict[str, Any], str]]:
    homes: dict[str, Place] = {"top": (), "trainer": ("trainer",), "beside": place[:-2]}
    for kind in ("model", "data"):
        if "init_args" in (document.get(kind) or {}):
            homes[kind] = (kind, "init_args")
    key = place[-1]
    for home in homes.values():
        if home == place[:-1] or key in ("class_path", "save_dir") or str(key).endswith("+"):
            continue
        mutated = copy.deepcopy(document)
        del parent_of(mutated, place)[key]
        target = parent_of(mutated, (*home, "")) if not home or home[0] in mutated else mutated.setdefault(home[0], {})
        if isinstance(target, dict) and key not in target:
            target[key] = value
            yield mutated, str(key)


def misspell_class(document: dict[str, Any], place: Place, value: Any) -> Iterator[tuple[dict[str, Any], str]]:
    if place[-1] == "class_path":
        package, dot, name = value.rpartition(".")
        yield changed(document, place, f"{package}{dot}{misspelt(name)}"), name


def misspell_choice(document: dict[str, Any], place: Place, value: Any) -> Iterator[tuple[dict[str, Any], str]]:
    if place[-1] not in CHOICES:
        return
    if isinstance(value, list):
        operation, bracket, rest = value[0].partition("(")
        yield changed(document, place, [misspelt(operation) + bracket + rest, *value[1:]]), operation
    elif isinstance(value, str):
        yield changed(document, place, misspelt(value)), value


def change(document: dict[str, Any], place: Place, value: Any) -> Iterator[tuple[dict[str, Any], str]]:
    if isinstance(value, bool):
        yield changed(document, place, not value), ""
    elif isinstance(value, int):
        yield changed(document, place, value + 1), ""
    elif isinstance(value, float):
        yield changed(document, place, round(1.25 * value + 0.01, 6)), ""


KINDS: dict[str, Make] = {
    "misspelt key": misspell_key,
    "wrong type": give_wrong_type,
    "out of range": leave_the_range,
    "removed": remove,
    "duplicated": duplicate,
    "nested wrongly": nest_wrongly,
    "misspelt class": misspell_class,
    "misspelt choice": misspell_choice,
    "changed": change,
}
# What the strict pass alone refuses costs milliseconds, and is tried more often; the others need the parser.
TIMES = {"misspelt key": 2, "duplicated": 1, "nested wrongly": 2, "misspelt class": 1}
# Of the rest, an overlay meets one, in turn.
SLOW = [kind for kind in KINDS if kind not in TIMES]


def mutants_of(kind: str) -> Iterator[Mutant]:
    """Some mutants of a kind of each file, the same ones every time."""
    for number, path in enumerate(FILES):
        document = yaml.safe_load(path.read_text())
        if kind in TIMES or "seed_everything" in document or kind == SLOW[number % len(SLOW)]:
            yield from random.Random(f"{label(path)}/{kind}").sample(
                found := list(mutants_in(path, document, kind)), min(len(found), TIMES.get(kind, 1))
            )


def mutants_in(path: Path, document: dict[str, Any], kind: str) -> Iterator[Mutant]:
    """Every mutant of a kind that a file has."""
    for place, value in leaves(document):
        for mutated, names in KINDS[kind](document, place, value):
            make = partial(said_twice, document, place, value) if kind == "duplicated" else partial(as_text, mutated)
            yield Mutant(path, kind, place, make, names)


@pytest.fixture(scope="module")
def mutants() -> dict[str, list[Mutant]]:
    """The mutants of each kind."""
    return {kind: list(mutants_of(kind)) for kind in KINDS}


def test_there_are_enough_of_every_kind_and_for_every_file(mutants):
    kinds = {kind: len(found) for kind, found in mutants.items()}
    assert sum(kinds.values()) >= 500
    assert all(kinds[kind] >= 30 for kind in KINDS), kinds
    assert {mutant.path for found in mutants.values() for mutant in found} == set(FILES)


@pytest.fixture
def asked(command, monkeypatch) -> Callable[..., tuple[Any, LectureCLI | None]]:
    """Call `fit`, which does everything up to the first step; gives its answer, and what it would have trained."""
    built: list[LectureCLI] = []
    monkeypatch.setattr(LectureCLI, "fit", lambda self: built.append(self))

    def call(*args: str | Path) -> tuple[Any, LectureCLI | None]:
        built.clear()
        answer = command("fit", *args, *QUIET)
        return answer, built[0] if built else None

    return call


def check(mutant: Mutant, files: list[Path], answer: Any, cli: LectureCLI | None) -> str:
    """Require one of the two outcomes, and say which it was."""
    assert "Traceback" not in answer.out + answer.err
    if cli is None:
        assert answer.code == 2
        assert answer.err.startswith("error: ")
        assert answer.err.count("\n") == 1
        assert len(answer.err) < 450, answer.err
        assert mutant.names in answer.err
        return "refused"
    assert answer.code == 0, answer.err
    assert not mutant.names, f"it should have been refused, naming {mutant.names}"
    check_config(files, cli.save_config_kwargs["stored_config"])
    check_objects(files, cli)
    return "as it says"


def check_config(files: list[Path], resolved: dict[str, Any]) -> None:
    """Require that a resolved config holds what the files say, and for the rest the defaults of the classes."""
    said: dict[str, Any] = {}
    for path in files:
        said = merge(said, load_yaml(path))
    said = with_defaults(said)
    assert resolved["seed_everything"] == said["seed_everything"]
    for kind in ("model", "data"):
        check_block(kind, said[kind], resolved[kind])
    trainer = said.get("trainer") or {}
    for kind, key in (("callback", "callbacks"), ("logger", "logger")):
        given, found = (part.get(key) or [] for part in (trainer, resolved["trainer"]))
        given, found = ([part] if isinstance(part, dict) else part for part in (given, found))
        assert len(given) == len(found)
        for ours, theirs in zip(given, found, strict=True):
            check_block(kind, ours, theirs)
    for name, value in resolved["trainer"].items():
        if name not in ("callbacks", "logger", "enable_progress_bar", "enable_model_summary"):
            default = defaults_of(Trainer)[name]
            assert plain(value) == plain(trainer.get(name, default)), name


def check_block(kind: str, said: Any, resolved: dict[str, Any]) -> None:
    said = {"class_path": said} if isinstance(said, str) else said
    cls = find_class(kind, said["class_path"])
    assert find_class(kind, resolved["class_path"]) is cls
    given, found = said.get("init_args") or {}, resolved.get("init_args") or {}
    assert set(given) <= set(found)
    for name, value in found.items():
        # A logger in the place of another keeps what both have, which says where curves go and not what is trained.
        if kind != "logger" or name in given:
            assert plain(value) == plain(given.get(name, defaults_of(cls)[name])), name


def plain(value: Any) -> Any:
    """A value as it would be read from YAML."""
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


# What an object turns into something else.
TURNED = {"batch_size", "function", "dirpath", "save_dir", "mode", "prefix", "version", "name"}


def check_objects(files: list[Path], cli: LectureCLI) -> None:
    """Require that what was built has the numbers and words that the files say."""
    said: dict[str, Any] = {}
    for path in files:
        said = merge(said, load_yaml(path))
    parts = [(cli.model, said["model"]), (cli.datamodule, said["data"])]
    callbacks = {type(callback): callback for callback in cli.trainer.callbacks}
    for block in (said.get("trainer") or {}).get("callbacks") or []:
        found = callbacks.get(find_class("callback", block["class_path"]))
        parts += [(found, block)] if found is not None else []
    for built, block in parts:
        for name, value in (block.get("init_args") or {}).items() if isinstance(block, dict) else ():
            kept = getattr(built, name, None)
            if name not in TURNED and isinstance(kept, int | float | str | list):
                assert plain(kept) == plain(value), f"{type(built).__name__}.{name}"
    trainer = said.get("trainer") or {}
    for name in ("max_epochs", "max_steps", "check_val_every_n_epoch", "limit_train_batches"):
        if trainer.get(name) is not None:
            assert getattr(cli.trainer, name) == trainer[name], name
    assert cli.model.seed == cli.datamodule.seed == said["seed_everything"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", [0, *(pytest.param(first, marks=pytest.mark.slow) for first in (1, 2, 3))])
def test_a_mutant_is_refused_or_trained_as_it_says(asked, fashion_mnist, here, mutants, subtests, kind, first):
    for mutant in mutants[kind][first::4]:
        with subtests.test(mutant.id):
            (here / "mutant.yaml").write_text(mutant.text())
            files = [*below(mutant.path), here / "mutant.yaml"]
            answer, cli = asked(*(f"--config={path}" for path in files))
            check(mutant, files, answer, cli)


# What a config that is not refused says, a real training does.
TRAINED: dict[tuple[str, Place], Make] = {
    ("vanishing", ("model", "init_args", "depth")): change,
    ("vanishing", ("data", "init_args", "batch_size")): change,
    ("gradient_descent", ("trainer", "max_epochs")): change,
    ("multilabel", ("model", "init_args", "optimizer")): remove,
    ("tools", ("trainer", "callbacks", 0)): remove,
    ("tools", ("seed_everything",)): change,
}


@pytest.mark.parametrize(
    ("name", "place"), TRAINED, ids=lambda part: str(part[-1]) if isinstance(part, tuple) else part
)
def test_some_are_really_trained(command, result, here, name, place):
    path, limit = catalogue.ROOT / name / "base.yaml", here / "limit.yaml"
    document = yaml.safe_load(path.read_text())
    ((mutated, _),) = TRAINED[name, place](document, place, parent_of(document, place)[place[-1]])
    (here / "mutant.yaml").write_text(as_text(mutated))
    limit.write_text("trainer: {limit_train_batches: 2}")
    answer = command("fit", f"--config={here / 'mutant.yaml'}", f"--config={limit}", *QUIET)
    assert answer.code == 0, answer.err
    stored, content = load_yaml(answer.directory / "config.yaml"), result(answer.directory)
    check_config([here / "mutant.yaml", limit], stored)
    batches = 1 if stored["data"]["init_args"]["batch_size"] == "full" else 2
    assert content["steps"] == batches * stored["trainer"]["max_epochs"]
    assert content["seed"] == stored["seed_everything"]
