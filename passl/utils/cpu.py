"""Paddle's speed on the CPU, set right in this one place.

As installed, Paddle runs its matrix products on one thread and, on processors that are not Intel's, on a slow path of the
Intel MKL it carries; large buffers go back to the system at every step and are faulted in again. `configure_cpu` mends the
three. It is called by commands before they do anything else and by models when they are built, so a notebook that imported
paddle first has it too. `PASSL_CPU_SETTINGS=0` in the environment turns it off; a user's own settings of
MKL_DEBUG_CPU_TYPE and OMP_NUM_THREADS are kept.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys

_TURNED_OFF = "PASSL_CPU_SETTINGS"
_MKL_PATH = "MKL_DEBUG_CPU_TYPE"
_THREADS = "OMP_NUM_THREADS"

# What the old MKL calls the code paths of AVX2 and of AVX-512, and what a processor must have for each.
_MKL_PATHS = (("7", {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"}), ("5", {"avx2", "fma"}))

# mallopt's names for "give memory back above this much" and "use mmap for at most this many blocks" (glibc's malloc.h).
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_KEEP_BYTES = 2**31 - 1

# The user's own number of threads. Paddle's import sets the variable to 1 when it is absent, so a 1 that is found after it, or
# in a process that Paddle's launcher started, says nothing.
_FOUND = os.environ.get(_THREADS)
_MAY_BE_PADDLES = "paddle" in sys.modules or "PADDLE_TRAINERS_NUM" in os.environ
USERS_THREADS = None if _FOUND == "1" and _MAY_BE_PADDLES else _FOUND

# None until `configure_cpu` ran; then what it set, in words, for `passl doctor`.
_report: dict[str, str] = {}


def configure_cpu(num_local_processes: int = 1) -> dict[str, str]:
    """Sets threads, MKL's code path and the allocator for this process, once.

    Args:
        num_local_processes: how many training processes share this machine's cores.

    Returns:
        What was set or kept, in words: keys "threads", "matrix products", "allocator".
    """
    if _report:
        return dict(_report)
    if os.environ.get(_TURNED_OFF) == "0":
        _report["all"] = f"left alone ({_TURNED_OFF}=0)"
        return dict(_report)
    _report["matrix products"] = _choose_mkl_path()
    _report["threads"] = _choose_threads(num_local_processes)
    _report["allocator"] = _keep_freed_memory()
    return dict(_report)


def _choose_mkl_path() -> str:
    if _MKL_PATH in os.environ:
        return f"{_MKL_PATH}={os.environ[_MKL_PATH]} from the environment"
    vendor, flags = _processor()
    if vendor != "AuthenticAMD":
        return "MKL's own choice"
    for value, needed in _MKL_PATHS:
        if needed <= flags:
            os.environ[_MKL_PATH] = value
            return f"{_MKL_PATH}={value}"
    return "MKL's own choice (no AVX2)"


def _processor() -> tuple[str, set[str]]:
    """Vendor and instruction sets as Linux lists them; empty elsewhere."""
    vendor, flags = "", set()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                key, _, value = line.partition(":")
                if key.strip() == "vendor_id":
                    vendor = value.strip()
                elif key.strip() == "flags":
                    flags = set(value.split())
                elif not line.strip():
                    break
    return vendor, flags


def usable_cores() -> int:
    """The number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _choose_threads(num_local_processes: int) -> str:
    if USERS_THREADS is not None:
        return f"{_THREADS}={USERS_THREADS} from the environment"
    import paddle

    # Told to Paddle itself: it prints a warning when it finds the variable greater than 1.
    threads = max(1, usable_cores() // num_local_processes)
    paddle.base.core.set_num_threads(threads)
    return str(threads)


def _keep_freed_memory() -> str:
    if platform.libc_ver()[0] != "glibc":
        return "the system's choice (not glibc)"
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES)
    return "freed memory is kept"
