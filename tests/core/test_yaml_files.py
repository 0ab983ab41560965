"""One reader for YAML: what it builds is bounded before it is built, and what a config has no use for is one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from experiments.core.files import yaml as yaml_files
from experiments.core.files.errors import UserError
from experiments.core.files.yaml import load_yaml, parse_value, parse_yaml

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 9)
)
REFUSED = {
    "a billion laughs": (LAUGHS, "line 6: more than 100000 keys and values"),
    "brackets": ("a: " + "[" * 100_000, "line 1: more than 40 mappings and lists within each other"),
    "mappings": ("{a: " * 50, "line 1: more than 40 mappings"),
    "an alias of what it is part of": ("a: &a [*a]", r"line 1: '\*a' stands for nothing that ends before it"),
    "an alias of nothing": ("a: *b", "line 1: "),
    "a tag": ("a: 1\nb: !!int abc", "line 2: 'tag:yaml.org,2002:int' is a tag, and a config has none"),
    "a class of Python": ("a: !!python/object:os.system {}", "is a tag"),
    "two documents": ("a: 1\n---\nb: 2", "not YAML"),
    "a control character": ("a: \x1b[31m", "not YAML"),
    "a key twice": ("a: 1\nb: 2\na: 3", "line 3: key 'a' is given twice"),
    "a key that is a date": ("2026-01-01: 1", None),
    "a key that is a number": ("1: 2", "line 1: a key must be a word; put 1 in quotes if it is one"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_config_needs_is_one_line(case):
    text, said = REFUSED[case]
    if said is None:
        assert parse_yaml(text) == {"2026-01-01": 1}
        return
    with pytest.raises(UserError, match=said) as error:
        parse_yaml(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("-2", -2),
        ("0x10", 16),
        ("1_000", 1000),
        (".5", 0.5),
        ("-1.5e+3", -1500.0),
        (".inf", float("inf")),
        ("12:30:00", "12:30:00"),
        ("2026-13-45", "2026-13-45"),
        ("2026-01-01", "2026-01-01"),
        ("true", True),
        ("null", None),
        ("nan", "nan"),
        ("{epoch}", "{epoch}"),
        ("{epoch}-{step}", "{epoch}-{step}"),
        ("{a: 1}", {"a": 1}),
        ("[1, 2", "[1, 2"),
        ("", None),
    ],
)
def test_values_are_read_as_they_are_meant(text, value):
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


def test_merge_keys_work():
    text = "base: &base {a: 1, b: 2}\nother:\n  <<: *base\n  b: 3\nthird: {<<: [*base], c: 4}\n"
    assert parse_yaml(text)["other"] == {"a": 1, "b": 3}
    assert parse_yaml(text)["third"] == {"a": 1, "b": 2, "c": 4}


def test_a_file_that_is_none_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(UserError, match="is no file"):
        load_yaml(tmp_path / "pipe.yaml")


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(yaml_files, "LARGEST_FILE", 3)
    (tmp_path / "large.yaml").write_text("a: 1\n")
    with pytest.raises(UserError, match="has more than 3 bytes"):
        load_yaml(tmp_path / "large.yaml")


def test_what_a_terminal_would_obey_is_spelt_out():
    assert str(UserError("unknown key 'a\n\x1b[31mb'")) == r"unknown key 'a\n\x1b[31mb'"
