"""Everything here runs in two real gloo processes."""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

_spec = importlib.util.spec_from_file_location("run_processes", Path(__file__).with_name("run_processes.py"))
processes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(processes)


def test_collectives_over_two_processes():
    first, second = processes.run_processes("gather_and_reduce", 2)
    for answer in (first, second):
        assert answer["gathered"] == [[1.0, 2.0], [2.0, 3.0]]
        assert answer["sum"] == 3.0
        assert answer["broadcast"] == 0.0
        assert answer["gradients"] == [[[3.0]], [4.0, 6.0], 8.0]
        assert answer["objects"] == [{"rank": 0, "text": ""}, {"rank": 1, "text": "é"}]
    # A row's gradient is the sum over the processes of what each made of it: (1 + 2) times the row's factor.
    assert first["gradient"] == [[3.0, 3.0]] and second["gradient"] == [[30.0, 30.0]]


@pytest.mark.slow
def test_barrier_waits_longer_than_gloo_does():
    assert processes.run_processes("wait_for_the_first", 2, seconds=35) == [[0, 1], [0, 1]]


def relative_difference(gradient, reference):
    gradient, reference = np.array(gradient), np.array(reference)
    return np.linalg.norm(gradient - reference) / np.linalg.norm(reference)


CASES = [("float32", 14.0, 1e-5), ("float32", 100.0, 1e-5), ("float64", 14.0, 1e-12), ("float64", 100.0, 1e-12)]


@pytest.fixture(scope="module")
def whole_batch():
    """Losses and gradients of one process that holds the whole batch, by case."""
    return contrastive(num_processes=1)[0]


def contrastive(num_processes, local_negatives=False):
    cases = [case[:2] for case in CASES]
    return processes.run_processes(
        "contrastive_gradients", num_processes, cases=cases, num_rows=8, local_negatives=local_negatives
    )


# Four processes are a longer check; two stand in the suite of every commit.
@pytest.mark.parametrize("num_processes", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_loss_and_gradients_equal_those_of_one_process(num_processes, whole_batch):
    for part in contrastive(num_processes):
        for (dtype, scale, bound), whole, split in zip(CASES, whole_batch, part):
            difference = relative_difference(split["gradient"], whole["gradient"])
            print(f"{num_processes} processes, {dtype}, temperature {scale}: relative difference {difference:.1e}")
            assert difference <= bound
            for name, value in whole["losses"].items():
                assert split["losses"][name] == pytest.approx(value, rel=bound)


def test_control_with_local_negatives_fails_the_same_comparison(whole_batch):
    for part in contrastive(2, local_negatives=True):
        for (dtype, scale, bound), whole, local in zip(CASES, whole_batch, part):
            difference = relative_difference(local["gradient"], whole["gradient"])
            print(f"control, local negatives, {dtype}, temperature {scale}: relative difference {difference:.1e}")
            assert difference > 1000 * bound


def start_launcher(code, num_processes=2):
    """A launcher in its own process; each of its processes runs `code`."""
    launcher = (
        "import sys; from passl.distributed.launch import launch; "
        f"sys.exit(launch([sys.executable, '-c', {code!r}], {num_processes}, 'cpu'))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", launcher],
        env={**os.environ, "PYTHONPATH": str(processes.ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_when_one_process_fails_the_others_end_with_a_message():
    code = "import os, sys, time; sys.exit(3) if os.environ['PADDLE_TRAINER_ID'] == '1' else time.sleep(60)"
    launcher = start_launcher(code)
    _, errors = launcher.communicate(timeout=30)
    assert launcher.returncode == 3
    assert "process 1 of 2 ended with exit code 3; ending the others" in errors


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's parent-death signal is Linux's")
def test_killed_launcher_takes_its_processes_along(is_alive, wait_until):
    launcher = start_launcher("import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    children = [int(launcher.stdout.readline()) for _ in range(2)]
    assert all(map(is_alive, children))
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    wait_until(lambda: not any(map(is_alive, children)))


def test_launcher_passes_a_signal_on_and_returns_the_exit_code_of_its_processes():
    code = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)); "
        "print('ready', flush=True); time.sleep(60)"
    )
    launcher = start_launcher(code)
    for _ in range(2):
        launcher.stdout.readline()
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(timeout=30) == 143
