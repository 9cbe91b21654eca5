"""Starting `--num-gpus N` (or `--num-procs N`) processes on this machine.

Each process runs the same command with the variables set that `paddle.distributed.init_parallel_env` reads, exactly as
`paddle.distributed.launch` would set them; ours stays one file to have the progress bar on the terminal, one exit code, and
no child left behind whatever happens to the launcher.
"""

from __future__ import annotations

import functools
import os
import signal
import socket
import subprocess
import time
from typing import List, Sequence

from passl.utils.cpu import USERS_THREADS
from passl.utils.logging import get_logger
from passl.utils.processes import die_with_parent

# How long the other processes may take to end by themselves once one has failed or a signal was passed on.
_GRACE_SECONDS = 10.0
_POLL_SECONDS = 0.1


def launch(command: Sequence[str], num_processes: int, device: str) -> int:
    """Runs `command` in `num_processes` processes that find each other; returns the exit code for all of them.

    SIGINT and SIGTERM are passed on once, so that the processes can save; a second signal kills them. When one process
    fails the others are ended, and a message names it. The exit code is that of the first to fail.
    """
    children = _start_children(command, num_processes, device)
    received: List[int] = []

    def pass_on(signum: int, _frame: object) -> None:
        received.append(signum)
        _signal_all(children, signum if len(received) == 1 else signal.SIGKILL)

    previous = {signum: signal.signal(signum, pass_on) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        return _watch(children, received)
    finally:
        _signal_all(children, signal.SIGKILL)
        for signum, handler in previous.items():
            signal.signal(signum, handler)


def _start_children(command: Sequence[str], num_processes: int, device: str) -> List[subprocess.Popen]:
    *ports, master = _free_ports(num_processes + 1)
    endpoints = [f"127.0.0.1:{port}" for port in ports]
    children = []
    for rank, endpoint in enumerate(endpoints):
        environment = dict(
            os.environ,
            PADDLE_TRAINER_ID=str(rank),
            PADDLE_TRAINERS_NUM=str(num_processes),
            PADDLE_TRAINER_ENDPOINTS=",".join(endpoints),
            PADDLE_CURRENT_ENDPOINT=endpoint,
            PADDLE_MASTER=f"127.0.0.1:{master}",
            GLOG_minloglevel=os.environ.get("GLOG_minloglevel", "1"),
        )
        if device == "gpu":
            environment["FLAGS_selected_gpus"] = str(rank)
        if USERS_THREADS is None:  # Paddle may have set it in this process
            environment.pop("OMP_NUM_THREADS", None)
        children.append(
            subprocess.Popen(
                command,
                env=environment,
                # A session of its own: the terminal's Ctrl-C reaches the launcher alone, which passes it on once.
                start_new_session=True,
                preexec_fn=functools.partial(die_with_parent, os.getpid()),
            )
        )
    return children


def _free_ports(count: int) -> List[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _watch(children: List[subprocess.Popen], received: List[int]) -> int:
    """Waits for all; ends the rest once one has failed."""
    exit_code, deadline = 0, None
    while None in [child.poll() for child in children]:
        failed = next((rank for rank, child in enumerate(children) if child.returncode), None)
        # After a signal the first process may need long to save: only a second signal ends it.
        if failed is not None and deadline is None and not received:
            exit_code = _exit_code(children[failed].returncode)
            deadline = time.monotonic() + _GRACE_SECONDS
            get_logger().error(
                "process %d of %d ended with exit code %d; ending the others", failed, len(children), exit_code
            )
            _signal_all(children, signal.SIGTERM)
        if deadline is not None and time.monotonic() > deadline:
            _signal_all(children, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)
    return exit_code or next((_exit_code(child.returncode) for child in children if child.returncode), 0)


def _exit_code(returncode: int) -> int:
    """A child's return code as a shell says it: 128 + n for a death by signal n."""
    return 128 - returncode if returncode < 0 else returncode


def _signal_all(children: List[subprocess.Popen], signum: int) -> None:
    for child in children:
        if child.poll() is None:
            child.send_signal(signum)
