"""Worker processes: order, errors, deaths, and nothing left behind."""

import gc
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from passl.datasets.workers import WorkerDied, WorkerError, map_in_order
from passl.utils.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


_others = set()


@pytest.fixture(autouse=True)
def remember_other_children():
    """Other libraries keep processes of their own."""
    _others.clear()
    _others.update(children())


def children():
    """Processes that this one has started since the test began and that are still there."""
    mine = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[1]) == os.getpid() and fields[0] != "Z" and int(entry.name) not in _others:
                mine.append(int(entry.name))
    return mine


@pytest.mark.parametrize("num_workers", [0, 1, 2, 4])
def test_results_come_in_the_order_of_the_tasks(num_workers):
    def square(task):
        time.sleep(0.002 * (task % 3))
        return task * task

    assert list(map_in_order(square, range(20), num_workers)) == [task * task for task in range(20)]


@pytest.mark.parametrize("num_tasks", [0, 1, 3])
def test_fewer_tasks_than_workers_are_no_problem(num_tasks):
    assert list(map_in_order(lambda task: task, range(num_tasks), 4)) == list(range(num_tasks))


def test_large_results_pass_while_many_tasks_wait():
    total = sum(float(values[0]) for values in map_in_order(lambda n: np.full(2**20, n), range(12), 2, ahead=4))
    assert total == sum(range(12))


def test_no_more_is_read_ahead_than_asked_for(tmp_path, wait_until):
    def note(task):
        (tmp_path / str(task)).touch()
        return task

    results = map_in_order(note, range(100), 2, ahead=2)
    for _ in range(3):
        next(results)
    wait_until(lambda: len(list(tmp_path.iterdir())) >= 7)
    time.sleep(0.1)
    assert len(list(tmp_path.iterdir())) == 7
    results.close()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_user_error_arrives_as_it_is_and_in_its_turn(num_workers):
    def fail(task):
        if task == 5:
            raise UserError("the fifth is wrong")
        return task

    results = map_in_order(fail, range(10), num_workers)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(UserError, match="^the fifth is wrong$"):
        next(results)
    assert not children()


def test_defect_in_a_worker_arrives_with_its_traceback():
    def divide(task):
        return 1 // task

    with pytest.raises(WorkerError, match=r"(?s)in divide.*ZeroDivisionError"):
        list(map_in_order(divide, range(3), 2))


def test_killed_worker_is_an_error_at_once_that_names_the_task():
    def die(task):
        if task == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return task

    results = map_in_order(die, range(10), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(WorkerDied, match=r"was killed \(SIGKILL\).*lower num_workers") as caught:
        next(results)
    assert caught.value.task == 3 and not children()


def test_worker_killed_in_the_middle_of_writing_is_an_error_too():
    results = map_in_order(lambda n: np.zeros(2**23), range(10), 1, ahead=1)
    next(results)
    (worker,) = children()
    # The next result is larger than a pipe holds, so most of the time the worker is writing.
    time.sleep(0.05)
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(WorkerDied):
        for _ in results:
            pass


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_signals_for_all_processes_do_not_end_workers(signum):
    results = map_in_order(lambda task: task, range(20), 2)
    first = next(results)
    for worker in children():
        os.kill(worker, signum)
    assert [first, *results] == list(range(20))


def test_closing_ends_the_workers():
    results = map_in_order(lambda task: task, range(100), 2)
    next(results)
    assert len(children()) == 2
    results.close()
    assert not children()


def test_dropping_the_iterator_ends_the_workers():
    results = map_in_order(lambda task: task, range(100), 2)
    next(results)
    del results
    gc.collect()
    assert not children()


def test_two_pools_live_side_by_side():
    one, other = (map_in_order(lambda task: task, range(30), 2) for _ in range(2))
    next(one), next(other)
    other.close()
    assert list(one) == list(range(1, 30))


SCRIPT = """
    import os, signal, sys, time
    from passl.datasets.workers import map_in_order

    def work(task):
        time.sleep(0.02)
        return os.getpid()

    workers = map_in_order(work, range(10**6), 3)
    print(*sorted({next(workers) for _ in range(9)}), flush=True)
"""


def start(script):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_kill_9_of_the_trainer_leaves_no_worker(is_alive, wait_until):
    process = start(SCRIPT + "\n    time.sleep(60)")
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert len(pids) == 3 and all(map(is_alive, pids))
    process.kill()
    process.communicate()
    wait_until(lambda: not any(map(is_alive, pids)))


def test_kill_9_without_the_kernels_help_leaves_no_worker(is_alive, wait_until):
    without = SCRIPT.replace(
        "def work", "import passl.datasets.workers as w; w.die_with_parent = lambda parent: None\n\n    def work"
    )
    process = start(without + "\n    time.sleep(60)")
    pids = [int(pid) for pid in process.stdout.readline().split()]
    process.kill()
    process.communicate()
    wait_until(lambda: not any(map(is_alive, pids)))


@pytest.mark.parametrize("ending", ["", "sys.exit(3)", "raise SystemExit(3)", "del workers"])
def test_trainer_that_ends_early_waits_for_nobody_and_is_silent(is_alive, ending):
    process = start(f"{SCRIPT}\n    {ending}\n")
    out, err = process.communicate(timeout=20)
    assert err == "" and process.returncode == (3 if "3" in ending else 0)
    assert not any(is_alive(int(pid)) for pid in out.split())


def test_no_shared_memory_is_left():
    before = set(os.listdir("/dev/shm"))
    list(map_in_order(lambda n: np.zeros(2**18), range(6), 2))
    assert set(os.listdir("/dev/shm")) - before == set()
