"""JSON whose meaning is not the same for every parser, or that is too large, is refused with the reason."""

import json

import pytest

from passl.checkpoint import is_model_folder, read_spec
from passl.tokenizers.settings import read_object
from passl.utils.errors import UserError
from passl.utils.strict_json import parse_mapping, read_mapping, shown
from passl.zoo.foreign_configs import read_foreign_spec


class Refused(Exception):
    pass


def refuse(reason):
    raise Refused(reason)


def test_mapping_reads_as_json_does(tmp_path):
    value = {"a": [1, 2.5, None, True, {"b": "ü"}], "limit": 10**30}
    (tmp_path / "file").write_text(json.dumps(value), encoding="utf-8")
    assert read_mapping(tmp_path / "file", "it", refuse) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"a": 1, "b": 2, "a": 1}', "the name 'a' stands twice in it"),
        (b'{"x": {"a": 1, "a": 1}}', "the name 'a' stands twice in it"),
        (b'{"a": NaN}', "it holds NaN, which is no number"),
        (b'{"a": -Infinity}', "it holds -Infinity, which is no number"),
        (b'{"a": 1e999}', "it holds 1e999, which is too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "it holds a number of 5,000 digits"),
        (b"{nonsense", r"it is not JSON \(Expecting"),
        (b"[" * 200_000, "it is not JSON"),
        (b'{"\xff": 1}', "it is not JSON"),
        (b"", "it is not JSON"),
        (b"[1]", "it is no JSON object: it holds no mapping of keys, but a list"),
    ],
)
def test_anything_else_is_refused(text, reason):
    with pytest.raises(Refused, match=reason):
        parse_mapping(text, "it", refuse)


def test_file_beyond_the_limit_is_refused_unread(tmp_path):
    (tmp_path / "file").write_bytes(b'{"a": 1}')
    assert read_mapping(tmp_path / "file", "it", refuse, limit=8) == {"a": 1}
    with pytest.raises(Refused, match="it has more than 7 bytes"):
        read_mapping(tmp_path / "file", "it", refuse, limit=7)


def test_values_are_shown_short_and_never_in_depth():
    assert shown("a" * 10**6) == repr("a" * 80) and shown([1, 2.5]) == "[1, 2.5]" and shown(None) == "None"
    assert shown([[1]]) == "a list" and shown([1] * 1000) == "a list" and shown({}) == "a dict"


@pytest.mark.parametrize("read", [read_object, read_foreign_spec, lambda path: read_spec(path.parent)])
def test_small_files_beside_weights_are_read_strictly(tmp_path, read):
    path = tmp_path / "config.json"
    path.write_text('{"format": "passl", "format": "other"}')
    with pytest.raises(UserError, match=f"'format' stands twice in {path}.* again"):
        read(path)
    assert not is_model_folder(tmp_path)
