"""Promises about the code itself: nothing is unpickled or unpacked, nothing listens, no name leads out of its place."""

from __future__ import annotations

import ast
import functools
import gzip
import hashlib
import re
import tarfile
import tomllib
import tracemalloc
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from datamodules import files, housing, sources
from experiments.core.files import run_directory
from experiments.core.files.yaml import StrictLoader

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("lightning_modules", "datamodules", "experiments")


# No file of others is unpickled, unpacked or executed.


@functools.cache
def calls() -> list[tuple[str, str, dict[str, ast.expr]]]:
    """Every call in the three packages: its place, what is called as far as it is spelt out, its keywords."""
    found = []
    for path in [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                keywords = {keyword.arg or "**": keyword.value for keyword in node.keywords}
                found.append((f"{path.relative_to(ROOT)}:{node.lineno}", ast.unparse(node.func), keywords))
    return found


def is_true(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is True


def test_every_checkpoint_is_loaded_as_weights_only():
    loads = [call for call in calls() if call[1] in ("torch.load", "load")]
    tests = [call for call in calls() if re.fullmatch(r"(self\.)?trainer\.(fit|validate|test|predict)", call[1])]
    assert len(loads) >= 2
    assert any("ckpt_path" in keywords for *_, keywords in tests)
    unsafe = [place for place, _, keywords in loads if not is_true(keywords.get("weights_only"))]
    unsafe += [p for p, _, keywords in tests if "ckpt_path" in keywords and not is_true(keywords.get("weights_only"))]
    assert unsafe == []


FORBIDDEN = (
    r"(c?[pP]ickle|dill|cloudpickle|marshal|joblib)\.(loads?|Unpickler)|shelve\.open|.*\.read_pickle|torch\.jit\.load|"
    r"torch\.hub\..*|.*load_from_checkpoint|yaml\.(unsafe_load|full_load|load_all)|eval|exec|compile|__import__|"
    r"os\.(system|popen|exec.*|spawn.*)|.*\.(extract|extractall)|shutil\.unpack_archive|tempfile\.mktemp"
)


def test_nothing_is_unpickled_unpacked_or_evaluated():
    assert [(place, name) for place, name, _ in calls() if re.fullmatch(FORBIDDEN, name)] == []


def test_numpy_loads_no_pickles_and_no_command_goes_through_a_shell():
    for place, _, keywords in calls():
        for name in ("allow_pickle", "shell"):
            assert not is_true(keywords.get(name)), f"{place}: {name}"


def test_yaml_is_read_by_safe_loaders():
    assert issubclass(StrictLoader, (yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    loaders = [ast.unparse(keywords["Loader"]) for _, name, keywords in calls() if name == "yaml.load"]
    assert set(loaders) == {"StrictLoader"}


# No name leads out of its place.

NAMES = ("../runs", "..", "/etc", "vanishing/../core", "core", "vanishing\0", ".", "vanishing/")


# No name at all asks for all data sets, or for all claims.
LOOKED_UP = [(word, name) for word in ("run", "report", "verify", "reference") for name in (*NAMES, "")]
LOOKED_UP += [(word, name) for word in ("data", "claims") for name in NAMES]


@pytest.mark.parametrize(("word", "name"), LOOKED_UP)
def test_names_of_experiments_and_data_sets_are_words_of_a_list(command, here: Path, word, name):
    answer = command(word, name)
    assert answer.code == 2
    shown = name.replace("\0", r"\x00")
    assert answer.err.startswith(f"error: unknown {'data set' if word == 'data' else 'experiment'} '{shown}'")
    assert not list(here.iterdir())


@pytest.mark.parametrize("name", [*NAMES[:4], "digits\0"])
def test_names_of_data_are_those_that_the_experiment_declares(command, here: Path, name):
    answer = command("run", "vanishing", f"--data={name}")
    assert answer.code == 2
    assert answer.err.startswith("error: unknown data set '")
    assert not list(here.iterdir())


OUTSIDE = ("../elsewhere", "checkpoints/../../elsewhere", "/tmp/elsewhere")
LOGGER = "{{class_path: TensorBoardLogger, init_args: {{save_dir: ., {}: '{}'}}}}"
PLACE = "{{class_path: TensorBoardLogger, init_args: {{{}: '{}'}}}}"
CHECKPOINT = "[{{class_path: ModelCheckpoint, init_args: {{{}: '{}'}}}}]"
PROFILER = "{{class_path: lightning.pytorch.profilers.SimpleProfiler, init_args: {{{}: '{}'}}}}"
WRITERS = {
    "dirpath": ("--trainer.callbacks", CHECKPOINT),
    "filename": ("--trainer.callbacks", CHECKPOINT),
    "save_dir": ("--trainer.logger", PLACE),
    "name": ("--trainer.logger", LOGGER),
    "version": ("--trainer.logger", LOGGER),
    "sub_dir": ("--trainer.logger", LOGGER),
}


@pytest.mark.parametrize(
    ("key", "outside"), [*((key, OUTSIDE[0]) for key in WRITERS), *(("dirpath", outside) for outside in OUTSIDE[1:])]
)
def test_what_loggers_and_callbacks_write_stays_in_the_runs_directory(command, here, base_yaml, key, outside):
    option, block = WRITERS[key]
    answer = command("fit", "--config", base_yaml, f"{option}={block.format(key, outside)}")
    assert answer.code == 2, answer.err
    assert f"{key} '{outside}' leads out of the run's directory" in answer.err
    assert not list(here.iterdir())


@pytest.mark.parametrize("key", ["dirpath", "filename"])
def test_what_a_profiler_writes_stays_there_too(command, here, base_yaml, key):
    answer = command("fit", "--config", base_yaml, f"--trainer.profiler={PROFILER.format(key, OUTSIDE[0])}")
    assert answer.code == 2, answer.err
    assert f"{key} '{OUTSIDE[0]}' leads out of the run's directory" in answer.err
    assert not list(here.iterdir())


def test_a_name_leads_out_by_a_link_or_a_nul_too(tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "link").symlink_to(tmp_path)
    for name in ("link/x", "a\0b", "..", "../run2", "../run-not"):
        assert run_directory.leads_out(tmp_path / "run", name), name
    for name in ("", ".", "a/b", "a/../b", "..a"):
        assert not run_directory.leads_out(tmp_path / "run", name), name


@pytest.mark.parametrize("place", ["a\0b", "x" * 300, "circle/a"])
def test_a_place_for_results_that_cannot_be_is_one_line(command, here: Path, place):
    (here / "circle").symlink_to("circle")
    answer = command("run", "vanishing", f"--runs={place}")
    assert answer.code == 2
    assert answer.err.startswith("error: results cannot be written to '")
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize("name", ["../relu", "..", ".", "/tmp/x", "a/b", "a b", "a\0b", "<b>", ""])
def test_an_overlay_named_in_a_grid_is_a_file_of_its_folder(tiny, here: Path, name):
    if "\0" not in name and "/" not in name:
        (tiny.folder / f"{name}.yaml").write_text("trainer: {max_epochs: 1}\n")
    tiny.edit(
        "experiment.py", 'axes(config="start", activation', f"axes(config={name!r}), axes(config='start', activation"
    )
    answer = tiny.run("--scale=smoke")
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert not (here / "runs").exists()


# Archives and downloads.

ARCHIVES = {"SVHN": sources.SVHN, "CIFAR10": sources.CIFAR10}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_altered_archive_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name):
    source = ARCHIVES[name]
    for file in source.sha256:
        (tmp_path / file).write_bytes(b"not what its authors published")

    def decode(*_: object) -> None:
        raise AssertionError("decoded before it was verified")

    monkeypatch.setattr(type(source), "decode", decode)
    with pytest.raises(OSError, match="is not the original: expected SHA-256"):
        sources.read(source, str(tmp_path))


def test_an_altered_table_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / housing.CALIFORNIA_HOUSING.file).write_bytes(b"altered")
    monkeypatch.setattr(tarfile, "open", lambda **_: pytest.fail("unpacked before it was verified"))
    with pytest.raises(OSError, match="is not the original: expected SHA-256"):
        housing._housing.__wrapped__(housing.CALIFORNIA_HOUSING, str(tmp_path))


def test_every_source_has_a_digest_of_each_of_its_files():
    for source in (sources.MNIST, sources.FASHION_MNIST, sources.SVHN, sources.CIFAR10):
        assert source.sha256
        assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in source.sha256.values())
    assert re.fullmatch(r"[0-9a-f]{64}", housing.CALIFORNIA_HOUSING.sha256)


def test_a_file_that_grows_without_end_is_refused_at_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path, digest = tmp_path / "images.gz", hashlib.sha256(bytes(50_000_000)).hexdigest()
    path.write_bytes(gzip.compress(bytes(50_000_000)))
    monkeypatch.setattr(files, "LARGEST_FILE", 100_000)
    tracemalloc.start()
    with pytest.raises(OSError, match="is not the original"):
        files.read_verified(path, "images", digest)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


# Servers and dependencies.


def test_servers_listen_to_this_machine_only():
    text = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    served = [line for line in text.splitlines() if "tensorboard.main" in line]
    assert len(served) == 1
    assert re.findall(r"--(?:host|bind_all)\b[ =]?(\S*)", served[0]) == ["localhost"]
    assert not re.search(r"0\.0\.0\.0|bind_all", text)
    opened = r".*\.(listen|serve_forever|create_server|start_server)|.*sock\w*\.bind|.*(HTTPServer|TCPServer)"
    assert [(place, name) for place, name, _ in calls() if re.fullmatch(opened, name)] == []


# Releases that were malicious: GHSA-w37p-236h-pfx3, and a package that took the name of one of torch's own.
MALICIOUS = {
    "lightning": {"2.6.2", "2.6.3"},
    "pytorch-lightning": {"2.6.2", "2.6.3"},
    "torchtriton": {"2.0.0", "3.0.0"},
}


def locked() -> list[Requirement]:
    return [Requirement(line) for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()]


def asked() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = [project["build-system"]["requires"], *project["project"]["optional-dependencies"].values()]
    return [Requirement(word) for group in [project["project"]["dependencies"], *groups] for word in group]


def test_pins_exclude_the_malicious_releases():
    for requirements in (locked(), asked()):
        assert "lightning" in {requirement.name for requirement in requirements}
        for requirement in requirements:
            for version in MALICIOUS.get(canonicalize_name(requirement.name), ()):
                assert not requirement.specifier.contains(Version(version)), str(requirement)


def test_the_lock_pins_every_package_to_one_version_and_names_no_address():
    for requirement in locked():
        assert [one.operator for one in requirement.specifier] == ["=="], requirement
        assert requirement.url is None


def test_the_lock_holds_what_the_project_asks_for():
    pinned = {canonicalize_name(one.name): next(iter(one.specifier)).version for one in locked()}
    for requirement in asked():
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), str(requirement)
