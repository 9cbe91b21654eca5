"""Child processes that never outlive the one that started them."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # from Linux's sys/prctl.h


def die_with_parent(parent: int) -> None:
    """Has the kernel kill this process when its parent ends, by `kill -9` too. Only Linux has that.

    Args:
        parent: the parent's process number, taken before this process was started; if it is gone already, this process
            ends at once, outside Linux too.
    """
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        if prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL)) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it ended before we could ask
        os._exit(1)
