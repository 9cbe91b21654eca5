"""`passl COMMAND ...`: one parser, one place where errors become messages and exit codes."""

from __future__ import annotations

import argparse
import errno
import importlib
import importlib.util
import os
import sys
import warnings
from typing import Optional, Sequence

from passl import __version__
from passl.utils.env import HOW_TO_INSTALL_PADDLE
from passl.utils.errors import UserError
from passl.utils.logging import show_messages

# Each module has add_arguments(parser) and run(arguments) -> exit code. They import Paddle inside `run` only, so that help
# texts and mistakes in the command line come at once.
_COMMANDS = {
    "train": ("passl.cli.train", "train or fine-tune from a config"),
    "eval": ("passl.cli.evaluate", "measure weights with the evaluators of a config"),
    "convert": ("passl.cli.convert", "convert weights between toolkits, and compare the outputs"),
    "data": ("passl.cli.data", "prepare data sets"),
    "models": ("passl.cli.models", "list the models that can be built by name"),
    "doctor": ("passl.cli.doctor", "print versions, devices, CPU settings and known problems"),
}


def main(arguments: Optional[Sequence[str]] = None, command: Optional[str] = None) -> int:
    """Runs one command; returns its exit code.

    Args:
        arguments: the words after the program's name; `sys.argv`'s when None.
        command: the command, for `tools/*.py`, whose own names say it already.
    """
    parsed = _parser(command).parse_args(arguments)
    show_messages()
    # Paddle 3 looks for a compiler cache when it is imported, and warns when there is none; nothing here compiles.
    warnings.filterwarnings("ignore", message="No ccache found")
    try:
        if importlib.util.find_spec("paddle") is None:
            raise UserError(f"PaddlePaddle is not installed; {HOW_TO_INSTALL_PADDLE}")
        return parsed.run(parsed)
    except (UserError, OSError) as error:
        # OSError: a full disk, a folder without permission. Whatever else is raised is a defect and keeps its traceback.
        if parsed.debug:
            raise
        number = os.environ.get("PADDLE_TRAINER_ID", "0")
        remedy = (
            ". Free some space; what was saved before stands" if getattr(error, "errno", None) == errno.ENOSPC else ""
        )
        print(f"error{'' if number == '0' else f' (process {number})'}: {error}{remedy}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _parser(command: Optional[str]) -> argparse.ArgumentParser:
    if command is not None:
        parser = argparse.ArgumentParser(description=_COMMANDS[command][1], allow_abbrev=False)
        _add_command(parser, command)
        return parser
    parser = argparse.ArgumentParser(
        prog="passl", description="Image-text models with PaddlePaddle.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"passl {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (_, summary) in _COMMANDS.items():
        _add_command(commands.add_parser(name, help=summary, description=summary, allow_abbrev=False), name)
    return parser


def _add_command(parser: argparse.ArgumentParser, name: str) -> None:
    module = importlib.import_module(_COMMANDS[name][0])
    parser.set_defaults(run=module.run)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    module.add_arguments(parser)


if __name__ == "__main__":
    sys.exit(main())
