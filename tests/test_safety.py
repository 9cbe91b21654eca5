"""No source file runs code from data: neither evaluates text, nor unpickles, nor hands a command to a shell."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for folder in ("passl", "tools") for path in (ROOT / folder).rglob("*.py"))

# Calls by their dotted name, after imports are resolved. Weight files are read by passl.checkpoint, which needs none.
FORBIDDEN = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "pickle.load",
    "pickle.loads",
    "pickle.Unpickler",
    "_pickle.load",
    "_pickle.loads",
    "_pickle.Unpickler",
    "marshal.load",
    "marshal.loads",
    "shelve.open",
    "joblib.load",
    "dill.load",
    "dill.loads",
    "paddle.load",
    "paddle.framework.load",
    "paddle.jit.load",
    "torch.load",
    "pandas.read_pickle",
    "yaml.load",
    "yaml.load_all",
    "yaml.unsafe_load",
    "yaml.full_load",
    "yaml.UnsafeLoader",
    "yaml.FullLoader",
    "yaml.Loader",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
}
# Calls that are allowed with arguments that make them safe, and what is checked instead.
SAFE_LOADERS = {"yaml.load", "yaml.load_all"}
# By file: what it may do, and why that is no code from data.
ALLOWED = {
    "passl/datasets/pipes.py": ["pickle.loads"],  # of what this program's own worker has sent through their pipe
}


def violations(source):
    """What `source` does that it must not, as (line, what)."""
    tree = ast.parse(source)
    names = imported_names(tree)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Load):
            name = dotted(node, names)
            if name in FORBIDDEN and name not in SAFE_LOADERS:
                found.append((node.lineno, name))
        if isinstance(node, ast.Call):
            name = dotted(node.func, names)
            keywords = {keyword.arg: keyword.value for keyword in node.keywords}
            if name in SAFE_LOADERS and len(node.args) < 2 and "Loader" not in keywords:
                found.append((node.lineno, f"{name} without a loader"))
            for switch in ("shell", "allow_pickle"):
                value = keywords.get(switch)
                if value is not None and not (isinstance(value, ast.Constant) and value.value is False):
                    found.append((node.lineno, f"{switch}={ast.unparse(value)}"))
    return found


def imported_names(tree):
    """What each imported name stands for: `import numpy as np` gives np: numpy, `from os import system` os.system."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def dotted(node, names):
    """The full name of a name or attribute, such as os.system; an empty text for anything else."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id).replace("builtins.", "")
    if isinstance(node, ast.Attribute):
        owner = dotted(node.value, names)
        return f"{owner}.{node.attr}".replace("builtins.", "") if owner else ""
    return ""


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_source_runs_no_code_from_data(path):
    found = violations(path.read_text(encoding="utf-8"))
    allowed = ALLOWED.get(path.relative_to(ROOT).as_posix(), [])
    assert [what for _, what in found] == allowed, found


@pytest.mark.parametrize(
    "source",
    [
        "eval('1')",
        "exec('1')",
        "import builtins; builtins.eval('1')",
        "run = eval",
        "import os; os.system('ls')",
        "from os import system as go; go('ls')",
        "import pickle; pickle.load(file)",
        "from pickle import loads; loads(data)",
        "import pickle as p; p.Unpickler(file)",
        "import pickle\nclass Ours(pickle.Unpickler): pass",
        "import paddle; paddle.load('a.pdparams')",
        "import numpy as np; np.load('a.npy', allow_pickle=True)",
        "import numpy as np; np.load('a.npy', allow_pickle=flag)",
        "import subprocess; subprocess.run('ls', shell=True)",
        "import yaml; yaml.load(text)",
        "import yaml; yaml.unsafe_load(text)",
    ],
)
def test_check_finds_what_it_is_for(source):
    assert violations(source)


@pytest.mark.parametrize(
    "source",
    [
        "model.eval()",
        "eval: int = 1",
        "import pickle; pickle.dumps(1)",
        "import re; re.compile('a')",
        "import subprocess; subprocess.run(['ls'], shell=False)",
        "import yaml; yaml.load(text, Loader=OurSafeLoader)",
        "import numpy as np; np.load('a.npy')",
    ],
)
def test_check_lets_harmless_code_pass(source):
    assert not violations(source)
