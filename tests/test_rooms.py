"""The tree itself: who imports whom, what an import costs, what a wheel contains."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# In order of import: a room may import from the rooms before it, never from one after it (docs/index.md).
ROOMS = [
    "utils",
    "distributed",
    "config",
    "tokenizers",
    "checkpoint",
    "datasets",
    "modeling",
    "zoo",
    "optim",
    "export",
    "inference",
    "evaluation",
    "engine",
    "cli",
]
# Old public names; nothing inside passl imports these files.
ALIASES = {"passl/utils/tokenizer.py"}


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def sources():
    return sorted((ROOT / "passl").rglob("*.py"))


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_room_imports_only_from_rooms_above(path):
    relative = path.relative_to(ROOT)
    if str(relative) in ALIASES or len(relative.parts) == 2:
        return
    allowed = ROOMS[: ROOMS.index(relative.parts[1]) + 1]
    for module in imported_modules(path):
        parts = module.split(".")
        if parts[0] == "passl" and len(parts) > 1 and (ROOT / "passl" / parts[1]).is_dir():
            assert parts[1] in allowed, f"{relative} imports {module}, a room below it"


def test_alias_files_are_imported_by_nothing():
    modules = {alias[:-3].replace("/", ".") for alias in ALIASES}
    for path in sources():
        assert not modules & set(imported_modules(path)), path


def test_every_room_says_what_it_is():
    for folder in {path.parent for path in sources()}:
        docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
        assert docstring and len(docstring) > 40, folder


def test_import_passl_prints_nothing_and_leaves_paddle_alone():
    code = "import sys, passl; sys.exit(any(name in sys.modules for name in ('paddle', 'numpy', 'regex')))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
