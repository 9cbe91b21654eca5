"""The wheel: what is in it, and that it works where there is no source tree."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DATA = {
    "passl/tokenizers/bpe_simple_vocab_16e6.txt.gz",
    "passl/tokenizers/bpe_simple_vocab_16e6.LICENSE",
}

pytestmark = pytest.mark.slow


def pip(*arguments):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy of the tree, without network."""
    for module in ("setuptools", "wheel"):
        pytest.importorskip(module, reason=f"the build needs {module}, from requirements-dev.txt")
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("passl", "tests", "tools", "configs"):
        shutil.copytree(ROOT / name, folder / "tree" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for pattern in ("*.py", "*.toml", "*.txt", "*.md", "LICENSE"):
        for path in ROOT.glob(pattern):
            shutil.copy(path, folder / "tree")
    pip("wheel", "--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", folder, folder / "tree")
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Runs a command in an empty folder with the installed wheel in place of the source tree; returns its output."""
    target, empty = tmp_path_factory.mktemp("installed"), tmp_path_factory.mktemp("empty")
    pip("install", "--no-deps", "--no-index", "--target", target, wheel)
    paths = [str(target), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}

    def run(program, *arguments):
        command = [sys.executable if program == "python" else str(target / "bin" / program), *arguments]
        done = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        assert not list(empty.iterdir())
        return done.stdout

    return run


def test_wheel_contains_the_package_its_data_and_nothing_else(wheel):
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "passl").rglob("*.py")}
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == sources | DATA


def test_wheel_names_its_licence_and_requires_no_build_of_paddle(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (archive.read(name).decode() for name in archive.namelist() if name.endswith("/METADATA"))
    assert "License: Apache-2.0\n" in metadata
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist: ")]
    assert required and all("extra ==" in line for line in required if "paddle" in line)


def test_installed_wheel_has_its_vocabulary(installed):
    code = "from passl.tokenizers import SimpleTokenizer; print(SimpleTokenizer().encode('a photo of a cat'))"
    assert installed("python", "-c", code) == "[320, 1125, 539, 320, 2368]\n"


def test_installed_command_lists_the_models(installed):
    assert "ViT-B-32" in installed("passl", "models").split()


def test_installed_wheel_is_what_runs(installed):
    assert str(ROOT / "passl") not in installed("python", "-c", "import passl; print(passl.__file__)")
