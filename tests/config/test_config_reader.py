"""YAML text to values: what is read as what, and what is refused."""

from __future__ import annotations

import os

import pytest

from passl.config.node import ConfigError, Items, Node
from passl.config.reader import MAX_BYTES, MAX_DEPTH, MAX_VALUES, read_file, read_text


def read(text):
    return read_text(text, lambda line: f"c.yaml:{line}")


def refusal(text):
    with pytest.raises(ConfigError) as caught:
        read(text)
    return str(caught.value)


@pytest.mark.parametrize("text", ["1e-6", "1E-6", "1.0e-06", "0.000001", ".000001", "+1e-6"])
def test_number_must_be_a_float_however_it_is_written(text):
    assert read(f"lr: {text}") == {"lr": 1e-6}


@pytest.mark.parametrize("text, value", [("0", 0), ("-12", -12), ("+3", 3), ("010", 10), ("1.", 1.0), ("-.5", -0.5)])
def test_number_must_keep_its_type(text, value):
    read_back = read(f"n: {text}")["n"]
    assert (read_back, type(read_back)) == (value, type(value))


@pytest.mark.parametrize(
    "word", ["yes", "no", "on", "off", "y", "n", "Yes", "NO", "1_000", "0x1F", "12:30", "2021-01-01"]
)
def test_word_that_yaml_1_1_would_change_must_stay_text(word):
    assert read(f"key: {word}") == {"key": word}


def test_key_that_yaml_1_1_would_change_must_stay_text():
    assert list(read("on: 1\nno: 2\n")) == ["on", "no"]


@pytest.mark.parametrize("word, value", [("true", True), ("True", True), ("FALSE", False), ("null", None), ("~", None)])
def test_boolean_and_null_must_be_read(word, value):
    assert read(f"key: {word}")["key"] is value


def test_missing_value_must_be_null():
    assert read("key:") == {"key": None}


@pytest.mark.parametrize("quoted", ["'1'", '"1"'])
def test_quoted_number_must_stay_text(quoted):
    assert read(f"key: {quoted}") == {"key": "1"}


def test_block_text_must_stay_text():
    assert read("key: |\n  12\n") == {"key": "12\n"}


@pytest.mark.parametrize("text", ["${HOME}", "$HOME", "%(home)s", "{{ x }}", "__import__('os')"])
def test_text_like_a_variable_or_code_must_stay_literal(text):
    assert read(f'key: "{text}"') == {"key": text}


def test_number_of_a_million_digits_must_not_hang():
    assert read(f"key: {'9' * 1_000_000}") == {"key": float("inf")}


def test_key_must_know_its_line():
    node = read("a: 1\nb:\n  c: 2\n")
    assert (node.where("b"), node["b"].where("c")) == ("c.yaml:2", "c.yaml:3")


def test_list_item_must_know_its_line():
    items = read("a:\n- 1\n- b: 2\n")["a"]
    assert (items.where(1), items[1].where("b")) == ("c.yaml:3", "c.yaml:3")


def test_nodes_must_be_plain_dicts_and_lists_to_others():
    node = read("a: [1, {b: 2}]")
    assert node == {"a": [1, {"b": 2}]}
    assert (type(node), type(node["a"])) == (Node, Items)


def test_alias_must_stand_for_its_anchor():
    assert read("a: &x {b: 1}\nc: *x\n")["c"] == {"b": 1}


def test_duplicate_key_must_be_refused_with_both_lines():
    message = refusal("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n")
    assert message == "c.yaml:5: b.c: this key is given twice; the first time at c.yaml:3"


def test_keys_equal_after_quoting_must_be_refused():
    assert "given twice" in refusal("a: 1\n'a': 2\n")


@pytest.mark.parametrize("key", ["1", "1.5", "true", "null", "~"])
def test_key_that_is_no_text_must_be_refused(key):
    assert f"a key must be text; write '{key}' in quotes" in refusal(f"m:\n  {key}: 1")


@pytest.mark.parametrize("text", ["? [a, b]\n: 1", "? {a: 1}\n: 1", "{a: 1}: 2"])
def test_list_or_mapping_as_key_must_be_refused(text):
    assert "a key must be text, not a list or a mapping" in refusal(text)


def test_merge_key_must_be_refused_with_the_alternative():
    message = refusal("a: &a {x: 1}\nb:\n  <<: *a\n")
    assert message.startswith("c.yaml:3: b: merge keys (<<) are not read") and "_base_" in message


def test_quoted_merge_key_must_be_an_ordinary_key():
    assert read("'<<': 1") == {"<<": 1}


@pytest.mark.parametrize(
    "tag",
    ["!!python/object/apply:os.system ['touch {}']", "!!python/object/new:os.mkdir ['{}']", "!!python/name:os.system"],
)
def test_python_tag_must_be_refused_and_run_nothing(tmp_path, tag):
    marker = tmp_path / "marker"
    message = refusal(f"a: 1\nb: {tag.format(marker)}\n")
    assert message.startswith("c.yaml:2: the tag '!!python/") and not marker.exists()


@pytest.mark.parametrize(
    "tag", ["!!str 1", "!!int '1'", "!mine x", "! x", "!<tag:example.com,2000:x> y", "!!binary aGk="]
)
def test_any_tag_must_be_refused(tag):
    assert "the tag" in refusal(f"a: {tag}")


def test_billion_laughs_must_be_refused():
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert f"more than {MAX_VALUES} values" in refusal("\n".join(lines))


def test_alias_inside_its_own_anchor_must_be_refused():
    assert "does an alias hold itself?" in refusal("a: &a [*a]")


@pytest.mark.parametrize("text", ["[" * 10_000, "a: " + "[" * 10_000 + "]" * 10_000, "{a: " * 10_000, "- " * 10_000])
def test_deep_nesting_must_be_refused(text):
    assert f"deeper than {MAX_DEPTH} levels" in refusal(text)


def test_nesting_through_aliases_must_be_refused():
    lines = ["a0: &a0 [1]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, MAX_DEPTH + 1)]
    assert f"deeper than {MAX_DEPTH} levels" in refusal("\n".join(lines))


def test_too_many_values_must_be_refused():
    assert f"more than {MAX_VALUES} values" in refusal("a: [" + "1, " * MAX_VALUES + "1]")


@pytest.mark.parametrize("text", ["\ta: 1", "a:\n\tb: 1", "a:\t1\n\tb"])
def test_tab_must_be_refused_by_name(text):
    assert "there is a tab here; use spaces" in refusal(text)


def test_colon_in_plain_text_must_be_explained():
    assert refusal("a: 1\nb: c: d").startswith("c.yaml:2: this is not valid YAML: there is a ':' too many here")


@pytest.mark.parametrize(
    "text",
    [
        "a: [1",
        "a: 'x",
        "a: @x",
        "a: *x",
        "a: 1\n---\nb: 2",
        "%YAML 9.0\n---\na: 1",
        'a: "\\q"',
        "a: 1\n- 2",
        "a: &x 1\nb: &x 2",
    ],
)
def test_invalid_yaml_must_be_refused_with_a_line(text):
    assert refusal(text).startswith("c.yaml:") and "this is not valid YAML" in refusal(text)


@pytest.mark.parametrize("escape", ["\\UFFFFFFFF", "\\U00110000"])
def test_escape_that_names_no_character_must_be_refused(escape):
    assert refusal(f'a: 1\nb: "{escape}"') == "c.yaml:2: an escape in double quotes names no character"


def test_control_character_must_be_refused_with_its_line():
    assert refusal("a: 1\nb: \x07") == "c.yaml:2: the character U+0007 is not allowed in YAML"


def write(tmp_path, content, name="c.yaml"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def file_refusal(path):
    with pytest.raises(ConfigError) as caught:
        read_file(path)
    return str(caught.value)


def test_file_that_is_no_utf_8_must_be_refused_with_its_line(tmp_path):
    path = write(tmp_path, b"a: 1\nb: caf\xe9\n")
    assert file_refusal(path).startswith(f"{path}:2: the file is not UTF-8 text")


def test_file_with_a_byte_order_mark_must_be_read(tmp_path):
    assert read_file(write(tmp_path, b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")) == {"a": 1, "b": 2}


@pytest.mark.parametrize("content", [b"a: 1\n" * 2_000_000, b"# " + b"x" * 10_000_000, b"\xff" * 10_000_000])
def test_file_of_10_megabytes_must_be_refused(tmp_path, content):
    assert f"larger than a config may be ({MAX_BYTES} bytes)" in file_refusal(write(tmp_path, content))


def test_missing_file_must_name_the_nearest_and_the_others(tmp_path):
    for name in ("vit-b-32.yaml", "vit-b-16.yml", "notes.txt"):
        write(tmp_path, b"a: 1", name)
    assert file_refusal(tmp_path / "vit-b32.yaml") == (
        f"{tmp_path}/vit-b32.yaml does not exist. Did you mean 'vit-b-32.yaml'? "
        f"In {tmp_path} there is: vit-b-16.yml, vit-b-32.yaml"
    )


def test_missing_folder_must_name_the_nearest(tmp_path):
    (tmp_path / "configs").mkdir()
    assert "Did you mean 'configs'?" in file_refusal(tmp_path / "config" / "clip" / "a.yaml")


def test_missing_file_in_a_large_folder_must_list_a_few(tmp_path):
    for number in range(30):
        write(tmp_path, b"a: 1", f"{number:02}.yaml")
    assert file_refusal(tmp_path / "x.yaml").endswith("09.yaml, ...")


def test_file_below_a_file_must_be_refused(tmp_path):
    assert "does not exist" in file_refusal(write(tmp_path, b"a: 1") / "b.yaml")


def test_folder_must_be_refused(tmp_path):
    assert file_refusal(tmp_path) == f"{tmp_path} is not a file"


def test_pipe_must_be_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "is not a file" in file_refusal(tmp_path / "pipe")


def test_impossible_file_name_must_be_refused(tmp_path):
    assert "cannot be read" in file_refusal(tmp_path / ("x" * 5000))
