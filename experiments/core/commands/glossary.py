"""`glossary`: writes the glossary of MODULES.md from `texts/glossary.yaml` and the docstrings."""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
from pathlib import Path

from experiments.core.files import run_directory
from experiments.core.files.errors import say
from experiments.core.files.texts import FOLDER, check_texts
from experiments.core.files.yaml import load_yaml
from experiments.core.grid import catalogue
from experiments.core.report import pages
from experiments.core.training import allow_list

PAGE = catalogue.ROOT.parent / "MODULES.md"

BEGIN = "<!-- glossary -->"
END = "<!-- end of glossary -->"
FILE = FOLDER / "glossary.yaml"


def call(_: argparse.Namespace) -> int:
    """Answer the command `glossary`."""
    say(write())
    return 0


def terms() -> dict[str, dict[str, dict[str, str]]]:
    """Read the terms, by section and by class or function (`package.module:Name`).

    Raises:
        UserError: the file cannot be read, or a term is not as it should be.
    """
    sections = load_yaml(FILE)
    return {name: check_texts(section, ("french", "english"), FILE.name) for name, section in sections.items()}


def write() -> Path:
    """Write the glossary between its two marks in MODULES.md."""
    run_directory.write_atomically(PAGE, with_glossary(PAGE.read_text(encoding="utf-8")))
    return PAGE


def with_glossary(text: str) -> str:
    """Return a Markdown text with the glossary between its two marks."""
    return pages.between(text, BEGIN, END, markdown())


def markdown() -> str:
    """Return the glossary: a table for each section, a row for each term."""
    parts = []
    for section, entries in terms().items():
        rows = [f"### {section}", "", "| français | English | class | slide | what it is |", "|---|---|---|---|---|"]
        rows += [_row(**words, place=place) for place, words in entries.items()]
        parts.append("\n".join(rows))
    return "\n\n".join([*parts, lightnings()])


def lightnings() -> str:
    """Return tables of Lightning's supported and unsupported classes, with the reasons."""
    supported = [
        f"| {package} | {', '.join(f'`{name}`' for name in names) or 'none'} |"
        for package, names in allow_list.SUPPORTED.items()
    ]
    words = [
        f"| `trainer.{key}` | {', '.join(f'`{word}`' for word in words)} |" for key, words in allow_list.WORDS.items()
    ]
    others = [f"| `{name}` | {reason} |" for name, reason in allow_list.REASONS.items()]
    return "\n".join(
        [
            "### Lightning's own classes",
            "",
            "A config may name these, with their own arguments. Any other takes `--allow-import`, and whoever names it",
            "answers for what its runs record.",
            "",
            "| where | supported |",
            "|---|---|",
            *supported,
            *words,
            "",
            "| not supported | why |",
            "|---|---|",
            *others,
        ]
    )


def _row(french: str, english: str, place: str) -> str:
    module, _, name = place.partition(":")
    found = getattr(importlib.import_module(module), name)
    doc = inspect.getdoc(found) or ""
    source = Path(inspect.getfile(inspect.unwrap(found))).relative_to(catalogue.ROOT.parent)
    first = " ".join(doc.partition("\n\n")[0].split()).partition(" Slide")[0].replace("|", "\\|")
    return f"| {french} | {english} | [`{name}`]({source.as_posix()}) | {', '.join(slides(doc))} | {first} |"


def slides(doc: str) -> list[str]:
    """Return the titles of slides in a docstring."""
    joined = " ".join(doc.split())
    found = re.findall(r"[Ss]lides? ((?:\"[^\"]+\"(?:,| and|, and)? ?)+)", joined)
    return list(dict.fromkeys(title for titles in found for title in re.findall(r"\"([^\"]+)\"", titles)))
