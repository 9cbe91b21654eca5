"""`passl models`."""

from __future__ import annotations

import argparse

import passl
from passl.utils.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("pattern", nargs="?", default="*", help="shell pattern, e.g. 'ViT-*'")


def run(arguments: argparse.Namespace) -> int:
    """Prints the names, one a line."""
    names = passl.list_models(arguments.pattern)
    if not names:
        raise UserError(f"no model's name matches {arguments.pattern!r}; `passl models` lists all")
    print("\n".join(names))
    return 0
