"""Arrows point one way: experiments use modules and data, these know neither each other nor the experiments."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILES = [p for package in ("lightning_modules", "datamodules", "experiments") for p in (ROOT / package).rglob("*.py")]


TOPICS = {path.parent.name for path in (ROOT / "experiments").glob("*/experiment.py")}
STANDARD = {"__future__", "collections", "dataclasses", "itertools", "typing", "experiments"}


def imports(path: Path) -> set[str]:
    """Modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def against_the_arrows(path: Path) -> set[str]:
    """What a file imports and may not."""
    found = imports(path)

    def uses(*packages: str) -> set[str]:
        return {name for name in found if name.split(".")[0] in packages}

    match path.relative_to(ROOT).parts:
        case "lightning_modules", "layers" | "by_hand", *_:
            bad = uses("datamodules", "experiments", "lightning", "torchmetrics", "torchvision")
        case "lightning_modules", *_:
            bad = uses("datamodules", "experiments")
        case "datamodules", *_:
            bad = uses("lightning_modules", "experiments")
        case "experiments", "core", *_:
            # `datamodules.augmentation` is not the experiment of that name.
            bad = {name for name in uses("experiments") if TOPICS & set(name.split(".")[1:2])}
        case _:
            bad = set()
    if path.name in ("experiment.py", "definitions.py"):
        bad |= {name for name in found if name.split(".")[0] not in STANDARD}
    return bad


def test_arrows_point_one_way():
    assert len(FILES) > 150
    assert {str(path.relative_to(ROOT)): bad for path in FILES if (bad := against_the_arrows(path))} == {}


def test_no_private_imports_of_lightning_or_unsafe_loading():
    private = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in FILES
        for name in imports(path)
        if name.split(".")[0] == "lightning" and any(word.startswith("_") for word in name.split("."))
    }
    assert private == set()
    assert [path for path in FILES if "weights_only=False" in path.read_text(encoding="utf-8")] == []


def test_the_lock_names_versions_and_no_addresses():
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    assert lines
    assert [line for line in lines if "==" not in line or "://" in line or "@" in line] == []
    # Malicious releases (GHSA-w37p-236h-pfx3).
    assert not {"lightning==2.6.2", "lightning==2.6.3"} & {line.split(" ")[0] for line in lines}
