"""The page of every config key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, List, Literal, Optional, Tuple

import pytest

from passl.config.reference import described_arguments, render
from passl.utils.registry import Registry

HEADS = Registry("head")


@HEADS.register()
class Head:
    """Scores things.

    It has a second paragraph.

    Args:
        features: given by the program.
        scale: a factor, described
            on two lines: with a colon.
        mean, std: of the pixels.
        kind (text): one | other.

    Raises:
        UserError: if nothing fits.
    """

    def __init__(
        self,
        features: Any,
        /,
        scale: float,
        mean: float = 0.5,
        std: float = 1e-6,
        kind: Literal["one", "other"] = "one",
    ) -> None: ...


@HEADS.register()
class Bare:
    """Has no keys."""


@dataclass
class Split:
    """Where samples come from.

    Args:
        size: how many.
    """

    size: Optional[int] = None


@HEADS.register()
class Sized:
    """Takes a section.

    Args:
        at: where it is cut.
    """

    def __init__(self, at: Split) -> None: ...


@dataclass
class Config:
    """The whole.

    Args:
        head: what scores.
        train: to learn from.
        extra: further ones.
        betas: two numbers.
    """

    head: Annotated[dict, HEADS]
    train: Split = field(default_factory=Split)
    extra: List[Split] = field(default_factory=list)
    betas: Tuple[float, float] = (0.9, 0.98)


def test_page_must_hold_every_key_with_type_default_and_meaning():
    page = render(Config, [HEADS])
    for row in [
        "| `head` | a head ([Heads](#heads)) | required | what scores. |",
        "| `train` | a mapping | see its section | to learn from. |",
        "| `extra` | a list of mappings | `[]` | further ones. |",
        "| `betas` | a list of 2 numbers | `[0.9, 0.98]` | two numbers. |",
        "| `size` | a whole number or null | `null` | how many. |",
        "| `scale` | a number | required | a factor, described on two lines: with a colon. |",
        "| `std` | a number | `1e-06` | of the pixels. |",
        "| `kind` | 'one' or 'other' | `\"one\"` | one \\| other. |",
    ]:
        assert row in page.splitlines()


def test_page_must_have_a_heading_per_section_and_class():
    headings = [line for line in render(Config, [HEADS]).splitlines() if line.startswith("#")]
    assert headings == [
        "# Config keys",
        "## Top level",
        "## `train` and `extra` and `Sized.at`",
        "## Heads",
        "### `Bare`",
        "### `Head`",
        "### `Sized`",
    ]


def test_page_must_hold_the_docstrings_text_but_not_its_lists():
    page = render(Config, [HEADS])
    assert "Scores things.\n\nIt has a second paragraph.\n\n| key |" in page
    assert "UserError" not in page and "given by the program" not in page


def test_arguments_must_be_read_from_a_docstring():
    assert described_arguments(Head) == {
        "features": "given by the program.",
        "scale": "a factor, described on two lines: with a colon.",
        "mean": "of the pixels.",
        "std": "of the pixels.",
        "kind": "one | other.",
    }


class Forgetful:
    """Forgets.

    Args:
        gone: is no parameter.
    """

    def __init__(self, present: int = 1) -> None: ...


def test_docstring_that_differs_from_the_signature_must_be_a_defect():
    registry = Registry("thing")
    registry.register()(Forgetful)
    with pytest.raises(TypeError) as caught:
        render(Split, [registry])
    assert "Forgetful: the key 'present' is not described" in str(caught.value)
    assert "Forgetful: 'gone' is described but is no parameter" in str(caught.value)
