"""`passl COMMAND ...`: one parser, one place where errors become messages and exit codes."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
from typing import List, Optional, Sequence

from passl import __version__
from passl.utils.cpu import configure_cpu
from passl.utils.env import HOW_TO_INSTALL_PADDLE
from passl.utils.errors import UserError
from passl.utils.logging import show_messages

# name, module with add_arguments(parser) and run(arguments) -> exit code, one line of help
_COMMANDS = (
    ("train", "passl.cli.train", "train or fine-tune from a config"),
    ("eval", "passl.cli.evaluate", "measure weights with the evaluators of a config"),
    ("data", "passl.cli.data", "prepare data sets"),
    ("models", "passl.cli.models", "list the models that can be built by name"),
    ("doctor", "passl.cli.doctor", "print versions, devices, CPU settings and known problems"),
)


def main(arguments: Optional[Sequence[str]] = None, command: Optional[str] = None) -> int:
    """Runs one command; returns its exit code.

    Args:
        arguments: the words after the program's name; `sys.argv`'s when None.
        command: the command, for `tools/*.py`, whose own names say it already.
    """
    words: List[str] = list(sys.argv[1:] if arguments is None else arguments)
    parsed = _parser(command).parse_args(words)
    module = parsed.module if command is None else dict((name, module) for name, module, _ in _COMMANDS)[command]
    show_messages()
    try:
        if importlib.util.find_spec("paddle") is None:
            raise UserError(f"PaddlePaddle is not installed; {HOW_TO_INSTALL_PADDLE}")
        return importlib.import_module(module).run(parsed)
    except (UserError, OSError) as error:
        # OSError: a full disk, a folder without permission. Whatever else is raised is a defect and keeps its traceback.
        if parsed.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _parser(command: Optional[str]) -> argparse.ArgumentParser:
    if command is not None:
        parser = argparse.ArgumentParser(allow_abbrev=False)
        _add_command(parser, dict((name, module) for name, module, _ in _COMMANDS)[command])
        return parser
    parser = argparse.ArgumentParser(prog="passl", description="Image-text models with PaddlePaddle.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"passl {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, module, summary in _COMMANDS:
        _add_command(commands.add_parser(name, help=summary, description=summary, allow_abbrev=False), module)
    return parser


def _add_command(parser: argparse.ArgumentParser, module: str) -> None:
    parser.set_defaults(module=module)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    importlib.import_module(module).add_arguments(parser)


if __name__ == "__main__":
    sys.exit(main())
