"""`passl models`."""

from __future__ import annotations

import argparse

import passl


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("pattern", nargs="?", default="*", help="shell pattern, e.g. 'ViT-*'")


def run(arguments: argparse.Namespace) -> int:
    """Prints the names, one a line."""
    print("\n".join(passl.list_models(arguments.pattern)))
    return 0
