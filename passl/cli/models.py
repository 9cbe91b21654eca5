"""`passl models`."""

from __future__ import annotations

import argparse
from typing import List

import passl
from passl.utils.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("pattern", nargs="?", default="*", help="shell pattern, e.g. 'ViT-*'")
    parser.add_argument("--long", action="store_true", help="with sizes, activation, tokenizer and kind of pictures")


def run(arguments: argparse.Namespace) -> int:
    """Prints the names, one a line."""
    names = passl.list_models(arguments.pattern)
    if not names:
        raise UserError(
            f"no model's name matches {arguments.pattern!r}; `passl models` lists all, and docs/models.md also those of "
            "open_clip that are not here yet"
        )
    print("\n".join(_table(names) if arguments.long else names))
    return 0


def _table(names: List[str]) -> List[str]:
    """A line of headings and a line per model, in columns."""
    from passl.zoo.overview import overview  # brings Paddle, to count parameters

    rows = [("name", "parameters", "pixels", "tokens", "activation", "tokenizer", "pictures")]
    for model in map(overview, names):
        sizes = (f"{model.parameters / 1e6:.1f} M", str(model.image_size), str(model.context_length))
        rows.append((model.name, *sizes, model.activation, model.vocabulary, model.images))
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
