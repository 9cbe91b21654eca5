"""Work done ahead in other processes, with results in the order of the tasks.

`paddle.io.DataLoader` is not used for this. Its workers wait for tasks without a time limit (2.6.2 and 3.3.1), so they
outlive a trainer that was killed; they share one pipe, so that the trainer hangs when a worker is killed while it writes;
and what a worker raises reaches the trainer as a `SystemError` without its message. Here every worker has a pipe of its
own:

* a worker that dies closes its pipe, and the trainer has an error with a reason at once;
* a trainer that dies, even by `kill -9`, takes its workers along;
* Ctrl-C and SIGTERM, which often reach all processes, are the trainer's affair: it may still need a batch to end a step;
* no shared memory is used, so none can be left behind or run out.

Workers read files and compute on one core each. They are copies of the trainer (`fork`) where the system has that, and
never touch Paddle, whose threads and devices do not survive copying.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import multiprocessing
import os
import queue
import signal
import sys
import threading
import traceback
import warnings
from collections import deque
from multiprocessing.connection import Connection
from typing import Any, Callable, Deque, Generator, Iterable, Iterator, List, Optional, Sequence, Tuple

from passl.datasets import pipes
from passl.utils.errors import UserError
from passl.utils.processes import die_with_parent


class WorkerDied(UserError):
    """A worker ended before its work was done.

    Attributes:
        task: what it was working on.
    """

    def __init__(self, message: str, task: int) -> None:
        super().__init__(message, task)
        self.task = task

    def __str__(self) -> str:
        return self.args[0]


class WorkerError(RuntimeError):
    """A worker met a defect of ours; the message is its traceback."""


def map_in_order(
    function: Callable[[int], Any], tasks: Iterable[int], num_workers: int, ahead: int = 2
) -> Generator[Any, None, None]:
    """`map(function, tasks)`, computed ahead by `num_workers` processes. With 0 it is computed here when it is asked for.

    Call it from the main thread: on Linux workers end with the thread that started them. Closing the iterator, or
    dropping it, ends the workers.

    Args:
        function: must depend on nothing but the task.
        tasks: small numbers; they are sent through pipes that are never waited for.
        num_workers: processes; task n goes to process n modulo this.
        ahead: tasks given to each process before the first result is asked for.

    Raises:
        UserError: whatever `function` raised of this kind.
        WorkerError: `function` raised another exception.
        WorkerDied: a worker was killed, by the system when memory is short, say.
    """
    if num_workers == 0:
        yield from map(function, tasks)
        return
    pool = _Pool()
    try:
        pool.start(function, num_workers)
        yield from pool.run(iter(tasks), ahead)
    finally:
        pool.close()


class _Pool:
    def __init__(self) -> None:
        self._owner = os.getpid()
        self._processes: List[multiprocessing.process.BaseProcess] = []
        self._connections: List[Connection] = []
        self._pending: List[Deque[int]] = []
        # (True, result), (False, exception), or (None, the worker that is dead)
        self._results: queue.SimpleQueue[Tuple[Optional[bool], Any]] = queue.SimpleQueue()
        self._receiver = threading.Thread(target=self._receive, daemon=True)

    def start(self, function: Callable[[int], Any], num_workers: int) -> None:
        # At the end of the program this comes before multiprocessing's own, which waits for processes that wait for us.
        atexit.register(self.close)
        for _ in range(num_workers):
            self._start_worker(function)
            self._pending.append(deque())
        self._receiver.start()

    def _start_worker(self, function: Callable[[int], Any]) -> None:
        context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
        ours, theirs = context.Pipe()
        # A copy of the trainer has copies of its ends too, which would keep the pipes open after the trainer's death.
        copied = (*self._connections, ours) if context.get_start_method() == "fork" else ()
        process = context.Process(target=_work, args=(function, theirs, os.getpid(), copied), daemon=True)
        with _held_back(signal.SIGINT, signal.SIGTERM), warnings.catch_warnings():
            # Python 3.12+ warns of copying a process with threads; see the head of this file.
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        # Only the worker may hold its end: when it dies, nothing else keeps the pipe open.
        theirs.close()
        self._processes.append(process)
        self._connections.append(ours)

    def run(self, tasks: Iterator[int], ahead: int) -> Iterator[Any]:
        turns = itertools.cycle(range(len(self._processes)))
        for worker, task in zip(turns, itertools.islice(tasks, ahead * len(self._processes))):
            self._send(worker, task)
        for worker in itertools.cycle(range(len(self._processes))):
            if not self._pending[worker]:
                return
            succeeded, result = self._results.get()
            if succeeded is None:
                raise self._death_of(result)
            if not succeeded:
                raise result
            self._pending[worker].popleft()
            following = next(tasks, None)
            if following is not None:
                self._send(worker, following)
            yield result

    def _send(self, worker: int, task: int) -> None:
        self._pending[worker].append(task)
        with contextlib.suppress(OSError):  # it is dead, and the receiver says so when its turn comes
            self._connections[worker].send(task)

    def _receive(self) -> None:
        """Takes results out of the pipes, in order, while the trainer computes. Runs in a thread of its own."""
        worker = 0
        try:
            with contextlib.suppress(EOFError, OSError):  # the worker is dead, as the last result says
                while True:
                    self._results.put(pipes.receive(self._connections[worker]))
                    worker = (worker + 1) % len(self._connections)
        finally:
            self._results.put((None, worker))

    def _death_of(self, worker: int) -> WorkerDied:
        process = self._processes[worker]
        process.join(5)
        code = process.exitcode
        how = f"was killed ({signal.Signals(-code).name})" if code is not None and code < 0 else f"ended (code {code})"
        message = (
            f"a process that reads data (number {process.pid}) {how}. If the machine ran out of memory, lower num_workers "
            "or batch_size"
        )
        return WorkerDied(message, self._pending[worker][0])

    def close(self) -> None:
        """Ends the workers. They hold nothing that would have to be put in order."""
        if os.getpid() != self._owner:  # in a copy of the trainer, where this is somebody else's
            return
        atexit.unregister(self.close)
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()
        if self._receiver.is_alive():
            self._receiver.join()  # its pipes have ended
        for connection in self._connections:
            connection.close()


def _work(function: Callable[[int], Any], connection: Connection, parent: int, copied: Sequence[Connection]) -> None:
    """The life of a worker: tasks in, results out, until the trainer's end of the pipe is closed."""
    die_with_parent(parent)
    os.environ["OMP_NUM_THREADS"] = "1"
    for other in copied:
        other.close()
    with contextlib.suppress(EOFError, OSError):  # the pipe's, since `_answer` raises nothing
        while True:
            task = connection.recv()
            pipes.send(connection, _answer(function, task))


def _answer(function: Callable[[int], Any], task: int) -> Tuple[bool, Any]:
    try:
        return True, function(task)
    except UserError as error:
        return False, error
    except Exception:  # not swallowed: the trainer raises it
        return False, WorkerError(f"in a process that reads data:\n{traceback.format_exc()}")


@contextlib.contextmanager
def _held_back(*signals: signal.Signals) -> Iterator[None]:
    """Signals wait until the block ends. A process that is started inside never gets them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)
