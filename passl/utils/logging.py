"""Where words for people go: one logger, to standard error, without decoration."""

from __future__ import annotations

import logging
import sys


def get_logger() -> logging.Logger:
    """The project's logger. Nothing is printed by the library itself below warnings unless `show_messages` was called."""
    return logging.getLogger("passl")


def show_messages(level: int = logging.INFO) -> None:
    """Prints the project's messages from `level` on to standard error (the command line calls this)."""
    logger = get_logger()
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Formatter())
        logger.addHandler(handler)
        logger.propagate = False
    logger.setLevel(level)


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        message = super().format(record)
        return message if record.levelno < logging.WARNING else f"{record.levelname.lower()}: {message}"
