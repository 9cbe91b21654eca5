from __future__ import annotations

import subprocess
import sys

import pytest

import passl

# Runs `statement` in a new interpreter and prints which slow packages came along.
PROBE = "import sys; {statement}; print([name for name in ('paddle', 'numpy', 'PIL', 'yaml') if name in sys.modules])"


def loaded_by(statement: str) -> str:
    command = [sys.executable, "-c", PROBE.format(statement=statement)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stderr == ""
    return result.stdout.strip()


def test_importing_passl_loads_nothing_else_and_prints_nothing():
    assert loaded_by("import passl; passl.__version__; dir(passl)") == "[]"


def test_listing_models_does_not_load_paddle():
    assert "paddle" not in loaded_by("import passl; passl.list_models()")


def test_public_names_are_listed_and_found():
    assert set(passl.__all__) <= set(dir(passl))
    assert passl.list_models("RN101") == ["RN101"]
    assert passl.get_tokenizer("RN101").context_length == 77


def test_unknown_name_of_the_package_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'passl' has no attribute 'create_modle'"):
        passl.create_modle  # noqa: B018
