"""Arrows point one way: experiments use modules and data, these know neither each other nor the experiments."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = [p for package in ("lightning_modules", "datamodules", "experiments") for p in (ROOT / package).rglob("*.py")]


def imports(path: Path) -> set[str]:
    """Modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def uses(path: Path, *packages: str) -> list[str]:
    return sorted(name for name in imports(path) if name.split(".")[0] in packages)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_arrows_point_one_way(path):
    relative = path.relative_to(ROOT)
    if relative.parts[0] == "lightning_modules":
        assert uses(path, "datamodules", "experiments") == []
    if relative.parts[0] == "datamodules":
        assert uses(path, "lightning_modules", "experiments") == []
    if relative.parts[0] == "lightning_modules" and relative.parts[1] in ("layers", "by_hand"):
        assert uses(path, "lightning", "torchmetrics", "torchvision") == []
    if relative.parts[:2] == ("experiments", "core"):
        topics = {p.parent.name for p in (ROOT / "experiments").glob("*/experiment.py")}
        # `datamodules.augmentation` is not the experiment of that name.
        assert [name for name in uses(path, "experiments") if topics & set(name.split(".")[1:2])] == []
    if relative.name in ("experiment.py", "definitions.py"):
        standard = {"__future__", "collections", "dataclasses", "itertools", "typing", "experiments"}
        assert {name.split(".")[0] for name in imports(path)} <= standard


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_private_imports_of_lightning_or_unsafe_loading(path):
    private = [
        n for n in imports(path) if n.split(".")[0] == "lightning" and any(w.startswith("_") for w in n.split("."))
    ]
    assert private == []
    assert "weights_only=False" not in path.read_text(encoding="utf-8")


def test_the_lock_names_versions_and_no_addresses():
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    assert lines
    assert [line for line in lines if "==" not in line or "://" in line or "@" in line] == []
    # Malicious releases (GHSA-w37p-236h-pfx3).
    assert not {"lightning==2.6.2", "lightning==2.6.3"} & {line.split(" ")[0] for line in lines}
