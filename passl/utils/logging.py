"""Where words for people go: one logger, to standard error, without decoration."""

from __future__ import annotations

import logging
import sys


def get_logger() -> logging.Logger:
    """The project's logger. Nothing is printed by the library itself below warnings unless `show_messages` was called."""
    logger = logging.getLogger("passl")
    if logger.level == logging.NOTSET:  # the one line of each load belongs to what people should see
        logger.setLevel(logging.INFO)
    return logger


def show_messages(level: int = logging.INFO) -> None:
    """Prints the project's messages from `level` on to standard error (the command line calls this)."""
    logger = get_logger()
    if not logger.handlers:
        logger.addHandler(_Printer())
        logger.propagate = False
    logger.setLevel(level)


class _Printer(logging.Handler):
    """Prints to whatever `sys.stderr` is at the time; warnings and errors say that they are."""

    def emit(self, record: logging.LogRecord) -> None:
        level = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        sys.stderr.write(f"{level}{record.getMessage()}\n")
