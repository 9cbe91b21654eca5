"""Whole runs in two real gloo processes."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file


def weights(folder):
    return load_file(str(folder / "checkpoints" / "latest" / "weights.safetensors"))


def test_two_processes_train_as_one_does(run):
    alone, together = run.folder / "alone", run.folder / "together"
    run.finish("-o", "steps=10", output=alone)
    run.finish(
        "-o", "steps=10", "-o", "data.train.batch_size=4", "--device", "cpu", "--num-procs", "2", output=together
    )
    for one, two in zip(run.rows(alone), run.rows(together)):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-4), one["step"]
    for name, array in weights(alone).items():
        np.testing.assert_allclose(weights(together)[name], array, atol=1e-3, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("both", [False, True])
def test_signal_to_several_processes_saves_one_state(run, both):
    """`both`: the launcher passes the signal on and the processes get one more, as other launchers do."""
    two = ("--device", "cpu", "--num-procs", "2", "-o", "data.train.batch_size=4", "-o", "checkpoint.every_steps=null")
    process = run.start(*two, "-o", "steps=100000")
    while len(run.rows()) < 5:
        assert process.poll() is None
        time.sleep(0.002)
    children = children_of(process.pid)
    process.send_signal(signal.SIGINT)
    if both:
        for child in children:
            os.kill(child, signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode in ((130, 143) if both else (130,)), errors
    states = [path.name for path in (run.output / "checkpoints").glob("step-*")]
    assert states == [f"step-{len(run.rows())}"]
    assert "Traceback" not in errors


def children_of(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
def test_killed_process_ends_the_others_and_the_run_continues_bit_for_bit(run):
    two = ("--device", "cpu", "--num-procs", "2", "-o", "data.train.batch_size=4")
    whole = run.folder / "whole"
    run.finish(*two, output=whole)
    process = run.start(*two)
    while len(run.rows()) < 6:
        assert process.poll() is None
        time.sleep(0.002)
    os.kill(children_of(process.pid)[1], signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 137
    assert "process 1 of 2 ended with exit code 137; ending the others" in errors
    run.finish(*two, "--resume", "auto")
    assert run.losses() == run.losses(whole)
