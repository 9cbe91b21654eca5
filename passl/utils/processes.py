"""Child processes that never outlive the one that started them."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # from Linux's sys/prctl.h


def die_with_parent(parent: int) -> None:
    """Has the kernel kill this process when its parent ends, by `kill -9` too. Does nothing outside Linux.

    Args:
        parent: the parent's process number, taken before this process was started; if it is gone already, this process
            ends at once.
    """
    if not sys.platform.startswith("linux"):
        return
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        os._exit(1)
