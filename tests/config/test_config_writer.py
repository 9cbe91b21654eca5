"""A config written out must read back to an equal one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Dict, List, Optional, Tuple

import pytest

from passl.config import build, load_config, to_yaml
from passl.utils.registry import Registry

THINGS = Registry("thing")


@THINGS.register("ThingAlias")
class Thing:
    """A thing."""

    def __init__(self, text: str = "x", betas: Tuple[float, float] = (0.9, 0.98), inner: Optional[int] = None) -> None:
        pass


@dataclass
class Section:
    """A section."""

    rate: float = 1e-6
    words: Tuple[str, ...] = ("yes", "1e-6")


@dataclass
class Config:
    """A config."""

    thing: Annotated[dict, THINGS] = field(default_factory=lambda: {"name": "ThingAlias"})
    things: List[Annotated[dict, THINGS]] = field(default_factory=list)
    section: Section = field(default_factory=Section)
    table: Dict[str, str] = field(default_factory=dict)
    derived: int = field(init=False, default=0)


def read_back(config, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    return build(type(config), load_config(path))


def test_defaults_must_be_written_out():
    assert to_yaml(build(Config, {})) == (
        "thing:\n  name: Thing\n  text: x\n  betas: [0.9, 0.98]\n  inner: null\nthings: []\n"
        "section:\n  rate: 1.0e-06\n  words: ['yes', '1e-6']\ntable: {}\n"
    )


def test_config_must_read_back_equal(tmp_path):
    config = build(Config, {"things": [{"name": "Thing", "inner": 3}, {"name": "Thing"}], "section": {"rate": 1e-300}})
    assert read_back(config, tmp_path) == config


WORDS_LIKE_OTHER_VALUES = "1 1e-6 -.5 .inf true False NULL ~ no on 12:30 2021-01-01 0x1F 1_000".split()
WORDS_LIKE_SYNTAX = [
    "<<",
    "=",
    "a: b",
    "# a",
    "a #b",
    "- a",
    "[a",
    "{a",
    "*a",
    "&a",
    "!a",
    "%a",
    "@a",
    "`a",
    "'",
    '"',
    "\\",
]
OTHER_TEXTS = [
    "",
    " ",
    " a ",
    "a\nb",
    "\n",
    "a\tb",
    "${HOME}",
    "q\u202a\x85w",
    "é中\U0001f600",
    "\x00\x07\x85\u2028\ufeff\ud800",
    "word " * 100,
]


@pytest.mark.parametrize("text", [*WORDS_LIKE_OTHER_VALUES, *WORDS_LIKE_SYNTAX, *OTHER_TEXTS])
def test_text_must_read_back_equal_as_value_and_as_key(text, tmp_path):
    config = build(Config, {"thing": {"name": "Thing", "text": text}, "table": {text: text}})
    assert read_back(config, tmp_path) == config


@pytest.mark.parametrize("rate", [0.0, -1.0, 1e16, 1e-7, 1.7976931348623157e308, 5e-324, 0.1, 1 / 3, 123456789.0])
def test_number_must_read_back_equal(rate, tmp_path):
    config = build(Config, {"section": {"rate": rate}})
    assert read_back(config, tmp_path) == config


def test_shared_values_must_be_written_without_aliases():
    shared = {"name": "Thing"}
    assert "&" not in to_yaml({"a": shared, "b": shared})
