"""Altered and malicious weight files: refused with a reason, or harmless; nothing runs and memory stays small.

All variants are written first and read by one other process with a limit on its memory.
"""

import json
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

import pytest

from passl.checkpoint import pickles
from passl.checkpoint.weights import read_weights, weights_hash, write_weights

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))

import altered_files  # noqa: E402
import torch_files  # noqa: E402

# How many variants of each kind there are: attacks, truncated files, files with a changed byte.
COUNTS = {
    "paddle": (359, 120, 240),
    "torch": (514, 120, 300),
    "sets": (34, 0, 0),
    "safetensors": (38, 60, 100),
}
SUFFIXES = {"paddle": ".pdparams", "torch": ".pt", "safetensors": ".safetensors"}
PAIR = {"a": altered_files.ARRAY, "b": altered_files.ARRAY}


def write(folder, files):
    for kind, named in files.items():
        (folder / kind).mkdir()
        for name, content in named.items():
            (folder / kind / f"{name}{SUFFIXES[kind]}").write_bytes(content)


def read(folder, max_instructions):
    """What became of each file below `folder`, read by another process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).with_name("read_files.py")), str(folder), str(max_instructions)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert not report["paddle"]
    return report


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder, marker, rng = (
        tmp_path_factory.mktemp("files"),
        tmp_path_factory.mktemp("marker") / "marker",
        random.Random(0),
    )
    files = {
        "paddle": {**altered_files.malicious_pickles(marker), **altered_files.altered_pickles(rng)},
        "torch": {**altered_files.malicious_archives(marker), **altered_files.altered_archives(rng)},
        "safetensors": {
            **{name: content for name, (content, _) in altered_files.MALFORMED_SAFETENSORS.items()},
            **altered_files.altered_safetensors(rng),
        },
    }
    sizes = {kind: {name: len(content) for name, content in named.items()} for kind, named in files.items()}
    for protocol in altered_files.PROTOCOLS:
        files["paddle"][f"honest-{protocol}"] = pickle.dumps(altered_files.ARRAYS, protocol=protocol)
    files["torch"]["honest-by-hand"] = torch_files.weights_archive(PAIR)
    write(folder, files)
    write_weights(folder / "paddle" / "honest-ours.pdparams", altered_files.ARRAYS)
    for name, parts in altered_files.altered_sets().items():
        for part, content in parts.items():
            path = folder / "sets" / name / part
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return {**read(folder, 50_000), "marker": marker, "sizes": sizes}


def of_kind(results, kind, *starts):
    return {name: found for name, found in results["outcomes"][kind].items() if name.startswith(starts)}


def attacks(results, kind):
    others = of_kind(results, kind, "honest", "changed", "truncated")
    return {name: found for name, found in results["outcomes"][kind].items() if name not in others}


def test_there_are_as_many_variants_as_said(results):
    found = {
        kind: (len(attacks(results, kind)), *(len(of_kind(results, kind, start)) for start in ("truncated", "changed")))
        for kind in COUNTS
    }
    assert found == COUNTS
    assert sum(sum(counts) for counts in COUNTS.values()) == 1885


def test_honest_files_among_them_read(results):
    honest = of_kind(results, "paddle", "honest")
    assert len(honest) == 5
    assert {found.get("hash") for found in honest.values()} == {weights_hash(altered_files.ARRAYS)}
    assert of_kind(results, "torch", "honest")["honest-by-hand"]["hash"] == weights_hash(PAIR)


@pytest.mark.parametrize("kind", COUNTS)
def test_no_altered_file_raises_anything_but_a_user_error(results, kind):
    assert {name: found for name, found in results["outcomes"][kind].items() if "crashed" in found} == {}


@pytest.mark.parametrize("kind", COUNTS)
def test_every_malicious_file_is_refused(results, kind):
    assert [name for name, found in attacks(results, kind).items() if "refused" not in found] == []


def test_nothing_in_a_malicious_file_ran(results):
    assert not results["marker"].exists()


def test_memory_stays_below_500_megabytes(results):
    assert results["peak"] < 500 << 20


@pytest.mark.parametrize("kind", SUFFIXES)
def test_every_truncated_file_is_refused_as_such(results, kind):
    truncated = of_kind(results, kind, "truncated")
    reasons = {name: found.get("refused", "") for name, found in truncated.items()}
    assert {name: text for name, text in reasons.items() if "truncated" not in text and "empty" not in text} == {}


@pytest.mark.parametrize("kind", ["paddle", "safetensors"])
def test_a_changed_byte_gives_a_refusal_or_arrays_no_larger_than_the_file(results, kind):
    for name, found in of_kind(results, kind, "changed").items():
        assert "refused" in found or found["bytes"] <= 2 * results["sizes"][kind][name], name


@pytest.mark.parametrize("recorded", altered_files.RECORDED)
def test_a_changed_byte_in_an_archive_with_checksums_gives_a_refusal_or_the_same_arrays(results, recorded):
    honest = weights_hash(read_weights(torch_files.FILES / f"torch-2.13-{recorded}.pt"))
    changed = of_kind(results, "torch", f"changed-{recorded}")
    wrong = {name: found for name, found in changed.items() if "refused" not in found and found["hash"] != honest}
    assert wrong == {}
    assert sum("refused" in found for found in changed.values()) > 30


@pytest.mark.parametrize("kind, name", [("paddle", "os.system-value-4"), ("torch", "pickle-os.system-value-4")])
def test_refusals_say_where_and_that_nothing_ran(results, kind, name):
    message = results["outcomes"][kind][name]["refused"]
    assert f"{name}{SUFFIXES[kind]}" in message
    assert "it refers to posix.system" in message and "Nothing in the file was run" in message


def test_missing_files_of_a_set_are_named(results):
    message = results["outcomes"]["sets"]["file-missing"]["refused"]
    assert "1 of its 2 files are missing" in message and "model-00002-of-00002.bin" in message


@pytest.mark.parametrize("kind", ["torch", "paddle"])
def test_bombs_below_the_shipped_limits_are_refused_within_500_megabytes(tmp_path, kind):
    """Each would take gigabytes or minutes if the reader let it; the other tests read with a lower limit."""
    bombs = altered_files.bombs()[kind]
    assert max(map(len, bombs.values())) < 4 << 20
    write(tmp_path, {kind: bombs})
    report = read(tmp_path, pickles.MAX_INSTRUCTIONS)
    outcomes = report["outcomes"][kind]
    assert {name: found for name, found in outcomes.items() if "refused" not in found} == {}
    limit = f"{pickles.MAX_INSTRUCTIONS:,} instructions"
    assert len(outcomes) == len(bombs) and not any(limit in found["refused"] for found in outcomes.values())
    assert report["peak"] < 500 << 20
    reasons = {name: found["refused"] for name, found in outcomes.items()}
    if kind == "torch":
        assert "a storage of a tuple of numbers is announced" in reasons["count-of-pairs-28"]
        assert "torch.Size in an unknown way" in reasons["sizes"]
    else:
        assert all("characters" in reason for name, reason in reasons.items() if name.startswith("names-"))


@pytest.mark.slow
def test_pickles_that_only_grow_end_at_the_limit_within_500_megabytes(tmp_path):
    bombs = {name: altered_files.malicious_pickles(tmp_path)[name] for name in altered_files.BOMBS}
    archives = {name: torch_files.state_dict_archive(content) for name, content in bombs.items()}
    write(tmp_path, {"paddle": bombs, "torch": archives})
    report = read(tmp_path, pickles.MAX_INSTRUCTIONS)
    for kind in report["outcomes"].values():
        assert len(kind) == len(bombs) and all("refused" in found for found in kind.values())
    assert report["peak"] < 500 << 20


def test_python_would_have_run_the_same_file(tmp_path):
    """The control: the attacks are real, so that the refusals mean something."""
    content = altered_files.malicious_pickles(tmp_path / "marker")["eval-top-4"]
    pickle.loads(content)
    assert (tmp_path / "marker").exists()
