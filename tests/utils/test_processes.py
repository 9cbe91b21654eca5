"""A child process that must not outlive its parent (tests/datasets and tests/distributed kill the parent)."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(code):
    code = f"import os\nfrom passl.utils.processes import die_with_parent\n{code}\nprint('alive')"
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


def test_process_whose_parent_is_gone_already_ends_at_once():
    done = run("die_with_parent(os.getppid() + 1)")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def test_process_whose_parent_lives_goes_on():
    done = run("die_with_parent(os.getppid())")
    assert (done.returncode, done.stdout, done.stderr) == (0, "alive\n", "")
