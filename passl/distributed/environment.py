"""Which process this is among how many, and joining the others.

Launchers (`paddle.distributed.launch`, ours in `launch.py`, a cluster's) all say it through the same variables.
"""

from __future__ import annotations

import os

from passl.utils.processes import die_with_parent


def rank() -> int:
    """This process's number, 0 to `world_size() - 1`."""
    return int(os.environ.get("PADDLE_TRAINER_ID", "0"))


def world_size() -> int:
    """The number of training processes."""
    return int(os.environ.get("PADDLE_TRAINERS_NUM", "1"))


def num_local_processes() -> int:
    """How many of the training processes run on this machine (they share its cores)."""
    here = os.environ.get("PADDLE_CURRENT_ENDPOINT", "").rpartition(":")[0]
    endpoints = os.environ.get("PADDLE_TRAINER_ENDPOINTS", "")
    return max(1, sum(endpoint.rpartition(":")[0] == here for endpoint in endpoints.split(",")) if here else 1)


def start(device: str) -> None:
    """Joins the other processes; with one process, does nothing.

    Args:
        device: "cpu" (gloo) or "gpu" (nccl).
    """
    if world_size() == 1:
        return
    import paddle
    import paddle.distributed as dist

    die_with_parent(os.getppid())  # other launchers do not take their processes along when they are killed
    paddle.disable_signal_handler()  # it prints a stack of C++ for every SIGTERM
    if device == "cpu":
        os.environ.setdefault("PADDLE_DISTRI_BACKEND", "gloo")
    dist.init_parallel_env()


def finish() -> None:
    """Waits for the other processes, so that none ends while another still talks to it."""
    if world_size() == 1:
        return
    import paddle.distributed as dist

    from passl.distributed.collectives import barrier, count_to

    barrier()
    # The store of barriers lives in the first process, which therefore leaves last.
    count_to(world_size() - 1 if rank() == 0 else 0, "passl/left", step=int(rank() > 0))
    # Without a group argument, shutting down fails on gloo; destroying it is enough.
    dist.destroy_process_group()
