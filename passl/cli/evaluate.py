"""`passl eval` and `tools/eval.py`: `passl train --evaluate-only` with its weights required."""

from __future__ import annotations

import argparse

from passl.cli import train


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    train.add_config_arguments(parser)
    train.add_process_arguments(parser)
    parser.add_argument(
        "--load", required=True, metavar="WEIGHTS", help="a file or a folder of any toolkit, or an address"
    )
    train.add_loading_arguments(parser)
    parser.set_defaults(evaluate_only=True, resume=None, allow_config_change=False, dry_run=False)


def run(arguments: argparse.Namespace) -> int:
    """Measures the weights."""
    return train.run(arguments)
