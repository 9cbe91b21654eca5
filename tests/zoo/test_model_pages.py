"""The page that lists the models is up to date, and the page on adding a family works as it is written."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import passl
from passl.checkpoint import from_family, layer_arrays, to_family
from passl.checkpoint.families import FAMILIES as LAYOUTS
from passl.utils.errors import UserError
from passl.zoo import sizes

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "add_a_family.md").read_text(encoding="utf-8")


# ---------------------------------------------------------------------------------------------------- docs/models.md


@pytest.fixture(scope="module")
def make_model_docs():
    """The tool as a module."""
    spec = importlib.util.spec_from_file_location("make_model_docs", ROOT / "tools" / "make_model_docs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow  # counts all models; `make docs` looks at the page too
def test_page_of_models_is_up_to_date(make_model_docs, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["make_model_docs.py", "--check"])
    assert make_model_docs.main() == 0, capsys.readouterr().err


@pytest.mark.slow
def test_page_of_models_that_is_out_of_date_is_noticed(make_model_docs, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(make_model_docs, "PAGE", tmp_path / "models.md")
    monkeypatch.setattr(sys, "argv", ["make_model_docs.py", "--check"])
    assert make_model_docs.main() == 1
    assert "run python tools/make_model_docs.py" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_every_model_is_measured_and_close_to_open_clip():
    parity = json.loads((ROOT / "docs" / "parity.json").read_text(encoding="utf-8"))
    assert sorted(parity) == passl.list_models()
    for name, row in parity.items():
        assert max(row["image"], row["text"]) <= 1e-5 and row["logits"] <= 1e-4, name


# ---------------------------------------------------------------------------------------------------- docs/add_a_family.md


@pytest.fixture
def added():
    """The page's Python, run; afterwards the tables are what they were."""
    tables = (sizes.TOWERS, sizes.FAMILIES, sizes.MODELS, LAYOUTS)
    before = [dict(table) for table in tables]
    for source in re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE):
        exec(source, {})
    yield
    for table, entries in zip(tables, before):
        table.clear()
        table.update(entries)


@pytest.fixture
def model(added):
    return passl.create_model("Lumen-T-16")


def test_family_of_the_page_has_a_name_and_its_choices(model):
    assert "Lumen-T-16" in passl.list_models()
    architecture = model.spec["architecture"]
    assert architecture["image"]["pool"] == "average" and not architecture["image"]["pre_norm"]
    assert architecture["text"]["pool"] == "last" and architecture["text"]["context_length"] == 32
    assert model.spec["preprocessing"]["mean"] == [0.5, 0.5, 0.5]


def test_weights_of_the_page_are_recognised_and_come_back_bit_equal(model):
    arrays = layer_arrays(model)
    theirs = to_family(arrays, "lumen")
    assert {name.partition(".")[0] for name in theirs} == {"pictures", "words", "temperature"}
    assert theirs["pictures.layers.3.qkv.weight"].shape == (3 * 192, 192)
    found = from_family(theirs)
    assert found.family == "lumen" and found.is_certain
    assert set(found.arrays) == set(arrays)
    assert all(np.array_equal(found.arrays[name], array) for name, array in arrays.items())


def test_name_that_no_rule_of_the_page_fits_is_refused(model):
    theirs = to_family(layer_arrays(model), "lumen")
    with pytest.raises(UserError, match="Lumen's layout, but it has no such names: words.tilt"):
        from_family({**theirs, "words.tilt": theirs["temperature"]})


def test_tables_of_the_page_are_gone_without_it():
    assert "Lumen-T-16" not in passl.list_models() and "lumen" not in LAYOUTS


def test_files_and_commands_that_the_page_names_exist():
    code = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", PAGE, flags=re.DOTALL | re.MULTILINE))
    paths = [word for text in code for word in text.split() if word.startswith(("passl/", "tests/", "tools/"))]
    assert len(paths) >= 8
    for path in paths:
        assert (ROOT / path).exists(), path
    for link in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / link).exists(), link
