"""Shared by all tests: Paddle's CPU speed is set right before anything imports it, and `run`, a run small enough to be
started many times (40 pictures of coloured squares, a CLIP of two thin layers)."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from passl.cli.main import main
from passl.utils.cpu import configure_cpu
from passl.utils.logging import get_logger

configure_cpu()

ROOT = Path(__file__).resolve().parents[1]

CONFIG = """
steps: 24
device: cpu
model:
  name: CLIPWrapper
  architecture:
    name: CLIP
    embed_dim: 16
    image_resolution: 16
    vision_layers: 1
    vision_width: 32
    vision_heads: 2
    vision_patch_size: 8
    context_length: 12
    transformer_width: 32
    transformer_heads: 2
    transformer_layers: 1
data:
  train:
    dataset: {name: ImageTextFolder, root: PAIRS}
    batch_size: 8
    transforms:
      - {name: ToRGB}
      - {name: RandomResizedCrop, size: 16}
      - {name: ToTensor}
      - {name: Normalize}
optimizer: {name: AdamW, lr: 1.0e-3, clip_grad_norm: 1.0}
schedule: {name: WarmupCosine}
checkpoint: {every_steps: 4, every_epochs: null}
log: {every_steps: 1}
"""


@pytest.fixture(autouse=True)
def logger_as_it_was():
    """A command run in this process turns messages on for good; the next test finds the logger as it was."""
    logger = get_logger()
    handlers, propagate, level = list(logger.handlers), logger.propagate, logger.level
    yield
    logger.handlers[:], logger.propagate = handlers, propagate
    logger.setLevel(level)


def _is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def _wait_until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@pytest.fixture(scope="session")
def is_alive():
    """`is_alive(pid)`: whether the process runs; one that only waits to be fetched by its parent does not."""
    return _is_alive


@pytest.fixture(scope="session")
def wait_until():
    """`wait_until(condition, seconds=10)`: comes back when `condition()` is true, and fails when it does not become so."""
    return _wait_until


class Run:
    """A config, its data and a run folder in a temporary place, and ways to start `tools/train.py` on them."""

    def __init__(self, folder):
        self.folder = folder
        self.pairs = folder / "pairs"
        self.output = folder / "run"
        self.config = folder / "config.yaml"
        self.config.write_text(CONFIG.replace("PAIRS", str(self.pairs)))
        self.pairs.mkdir()
        rng = np.random.default_rng(0)
        for number in range(40):
            colour = rng.integers(0, 256, size=3)
            picture = np.clip(colour + rng.integers(-30, 30, size=(20, 20, 3)), 0, 255).astype("uint8")
            Image.fromarray(picture).save(self.pairs / f"{number:02}.png")
            captions = [f"a square of colour {colour[0]} {colour[1]}", f"colour number {number}"]
            (self.pairs / f"{number:02}.txt").write_text("\n".join(captions))

    def command(self, *arguments, output=None):
        output = ["--output-dir", str(output or self.output)]
        return [sys.executable, str(ROOT / "tools/train.py"), "-c", str(self.config), *output, *map(str, arguments)]

    def start(self, *arguments, output=None, program=None):
        """Starts the command; `program` is Python code to run in place of tools/train.py, with the same arguments."""
        command = self.command(*arguments, output=output)
        if program is not None:
            command[1:2] = ["-c", program]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finish(self, *arguments, output=None, expected=0):
        """Runs the command to its end; returns what it wrote to standard error."""
        process = self.start(*arguments, output=output)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == expected, errors[-3000:]
        return errors

    def rows(self, output=None):
        path = (output or self.output) / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        rows = []
        for line in lines:
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return rows

    def losses(self, output=None):
        return [(row["step"], row["loss"], row["grad_norm"]) for row in self.rows(output)]

    def kill_at_step(self, process, step):
        """`kill -9` once so many steps are logged. Returns False when the run ended before."""
        while len(self.rows()) < step:
            if process.poll() is not None:
                return False
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return True


@pytest.fixture(scope="session")
def make_run():
    """`Run`, for fixtures that outlive a test."""
    return Run


@pytest.fixture
def run(tmp_path):
    """See `Run`."""
    return Run(tmp_path)


@pytest.fixture
def train(run, capfd):
    """Runs the command in this process; returns its exit code and what it wrote to standard error."""

    def call(*arguments):
        code = main([str(word) for word in run.command(*arguments)[2:]], command="train")
        return code, capfd.readouterr().err

    return call
