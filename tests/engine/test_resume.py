"""A run that is killed and continued equals one that never was: the same losses, bit for bit."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

# Kills itself at the n-th call of a function that commits a checkpoint (fsync, rename, replace, symlink, rmtree).
KILL_AT_CALL = """
import os, pathlib, shutil, signal, sys
from passl.checkpoint import training_state
from passl.cli.main import main

calls = {calls}
def counted(function):
    def call(*arguments, **keywords):
        global calls
        if any(sys._getframe(depth).f_code is training_state.save_state.__code__ for depth in frames()):
            calls -= 1
            if calls == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **keywords)
    return call

def frames():
    depth, frame = 1, sys._getframe(1)
    while frame is not None:
        yield depth - 1
        depth, frame = depth + 1, frame.f_back

for module, name in ((os, "fsync"), (os, "rename"), (os, "replace"), (os, "symlink"), (shutil, "rmtree")):
    setattr(module, name, counted(getattr(module, name)))
sys.argv[0] = "train"
sys.exit(main(command="train"))
"""


def processes_of(folder):
    """Processes whose command line or environment names `folder`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(folder).encode() in command and state != "Z":
            found.append(int(entry.name))
    return found


def wait_until_gone(folder):
    deadline = time.monotonic() + 10
    while processes_of(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    return processes_of(folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, make_run):
    """The losses of the unbroken run."""
    run = make_run(tmp_path_factory.mktemp("whole"))
    run.finish()
    return run.losses()


@pytest.mark.parametrize(
    "num_workers, num_kills",
    [(0, 2), pytest.param(2, 4, marks=pytest.mark.slow), pytest.param(4, 4, marks=pytest.mark.slow)],
)
def test_run_killed_at_random_steps_continues_bit_for_bit(run, whole, num_workers, num_kills):
    workers = ("-o", f"data.train.num_workers={num_workers}")
    shared_memory = sorted(os.listdir("/dev/shm"))
    seed = random.randrange(10**6)
    print(f"seed of the kills: {seed}")
    steps = sorted(random.Random(seed).sample(range(1, 24), num_kills))
    for step in steps:
        assert run.kill_at_step(run.start("--resume", "auto", *workers), step)
        assert wait_until_gone(run.output) == []
    run.finish("--resume", "auto", *workers)
    assert run.losses() == whole
    assert [row["step"] for row in run.rows()] == list(range(1, 25))
    assert sorted(os.listdir("/dev/shm")) == shared_memory


def test_run_killed_inside_a_save_continues_bit_for_bit(run, whole):
    # A save makes 22 of these calls; number 30 falls into the middle of the second, while its files are written.
    process = run.start("--resume", "auto", program=KILL_AT_CALL.format(calls=30))
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    left = [entry.name for entry in (run.output / "checkpoints").iterdir() if entry.name.startswith(".unfinished-")]
    assert left, "the kill came outside the save"
    run.finish("--resume", "auto")
    assert run.losses() == whole
    assert not list((run.output / "checkpoints").glob(".*"))


@pytest.mark.slow
@pytest.mark.parametrize("calls", [5, 17, 18, 19, 20, 21, 22, 23, 38, 40, 41, 42, 43, 44, 88, 89, 90])
def test_kill_between_any_two_calls_of_a_save_leaves_a_state_to_continue_from(run, whole, calls):
    process = run.start("--resume", "auto", program=KILL_AT_CALL.format(calls=calls))
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    before = len(run.rows())
    run.finish("--resume", "auto")
    assert run.losses() == whole
    assert before >= 4


def test_damaged_checkpoint_is_named_and_the_one_before_is_used(run, train):
    assert train("-o", "steps=12")[0] == 0
    newest = run.output / "checkpoints" / "step-12"
    losses = run.losses()
    (newest / "weights.safetensors").write_bytes((newest / "weights.safetensors").read_bytes()[:-5])
    code, errors = train("-o", "steps=12", "--resume", "auto")
    assert code == 0 and "step-12: weights.safetensors was truncated or altered" in errors
    assert "continuing after step 8 of 12" in errors
    assert run.losses() == losses


def test_damaged_newest_state_does_not_push_out_the_good_ones(run, train):
    assert train("-o", "steps=12")[0] == 0
    (run.output / "checkpoints" / "step-12" / "state.json").write_text("{")
    code, _ = train("-o", "steps=12", "-o", "checkpoint.keep=1", "-o", "checkpoint.every_steps=2", "--resume", "auto")
    assert code == 0
    assert sorted(os.listdir(run.output / "checkpoints")) == ["latest", "step-12"]
    assert train("-o", "steps=12", "--resume", "auto")[0] == 0


def test_state_of_another_run_does_not_continue_in_a_folder_with_a_run(run, train):
    assert train("-o", "steps=4")[0] == 0
    assert train("-o", "steps=4", "--output-dir", run.folder / "other")[0] == 0
    state = run.output / "checkpoints" / "step-4"
    code, errors = train("-o", "steps=4", "--output-dir", run.folder / "other", "--resume", state)
    assert code == 1 and "holds a run already" in errors


def test_other_pictures_of_the_same_number_are_another_run(run, train):
    assert train("-o", "steps=4")[0] == 0
    for suffix in ("png", "txt"):
        (run.pairs / f"07.{suffix}").rename(run.pairs / f"99.{suffix}")
    code, errors = train("-o", "steps=4", "--resume", "auto")
    assert code == 1 and "data_fingerprint" in errors


def test_newest_states_are_kept_and_latest_points_to_the_newest(run, train):
    assert train("-o", "checkpoint.keep=2")[0] == 0
    checkpoints = run.output / "checkpoints"
    assert sorted(os.listdir(checkpoints)) == ["latest", "step-20", "step-24"]
    assert os.readlink(checkpoints / "latest") == "step-24"


@pytest.mark.parametrize(
    "signum, expected", [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_signal_saves_one_state_and_exits_with_its_code(run, whole, signum, expected):
    arguments = ("-o", "checkpoint.every_steps=null", "-o", "data.train.num_workers=2")
    process = run.start(*arguments)
    while len(run.rows()) < 5:
        assert process.poll() is None
    process.send_signal(signum)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == expected, errors
    states = sorted((run.output / "checkpoints").glob("step-*"))
    assert [state.name for state in states] == [f"step-{len(run.rows())}"]
    run.finish(*arguments, "--resume", "auto")
    assert run.losses() == whole


def test_continuing_with_another_config_is_refused_with_the_list_of_changes(run, train):
    assert train("-o", "steps=4")[0] == 0
    code, errors = train("--resume", "auto", "-o", "steps=4", "-o", "optimizer.lr=0.5", "-o", "seed=1")
    assert code == 1 and "--allow-config-change" in errors
    assert "optimizer.lr: 0.001 in the checkpoint, 0.5 now" in errors and "seed: 0 in the checkpoint, 1 now" in errors
    code, errors = train("--resume", "auto", "-o", "steps=8", "--allow-config-change")
    assert code == 0 and "continuing with a changed config" in errors and run.rows()[-1]["step"] == 8


def test_weights_of_another_model_in_a_state_are_refused(train):
    assert train("-o", "steps=4")[0] == 0
    other = ("-o", "model.architecture.embed_dim=8", "--allow-config-change")
    code, errors = train("--resume", "auto", "-o", "steps=4", *other)
    assert code == 1 and "projection" in errors and "[32, 16]" in errors and "Traceback" not in errors


def test_state_older_than_others_in_the_folder_is_refused(run, train):
    assert train("-o", "steps=8")[0] == 0
    code, errors = train("-o", "steps=8", "--resume", run.output / "checkpoints" / "step-4")
    assert code == 1 and "newer than step 4: step-8" in errors
    code, errors = train(
        "-o", "steps=8", "--resume", run.output / "checkpoints" / "step-4", "--output-dir", run.folder / "other"
    )
    assert code == 0 and run.losses(run.folder / "other") == run.losses()[4:]


def test_folder_with_a_run_is_not_written_over(run, train):
    assert train("-o", "steps=4")[0] == 0
    metrics = (run.output / "metrics.jsonl").read_bytes()
    code, errors = train("-o", "steps=4")
    assert code == 1 and "holds a run already; give --resume auto" in errors
    assert (run.output / "metrics.jsonl").read_bytes() == metrics


def test_folder_in_use_is_refused(run):
    process = run.start("-o", "steps=100000")
    while not run.rows():
        assert process.poll() is None
    errors = run.finish("--resume", "auto", expected=1)
    process.kill()
    process.communicate()
    assert f"in use by another run (process {process.pid})" in errors


def test_state_says_what_it_was_made_with(run, train):
    assert train("-o", "steps=4")[0] == 0
    state = json.loads((run.output / "checkpoints" / "step-4" / "state.json").read_text())
    assert state["step"] == 4 and state["global_batch_size"] == 8 and state["num_samples"] == 40
    assert state["config"]["optimizer"]["lr"] == 1e-3 and state["config"]["optimizer"]["eps"] == 1e-6
    assert state["environment"]["packages"]["numpy"]
