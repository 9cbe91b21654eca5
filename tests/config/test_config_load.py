"""`_base_` files and overrides."""

from __future__ import annotations

import copy
import pickle

import pytest

from passl.config import ConfigError, Node, load_config


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder; `folder(name=text)` writes files into it, `__` in a name standing for `/`."""
    monkeypatch.chdir(tmp_path)

    def write(**texts):
        for name, text in texts.items():
            path = tmp_path / (name.replace("__", "/") + ".yaml")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)

    return write


def refusal(*arguments):
    with pytest.raises(ConfigError) as caught:
        load_config(*arguments)
    return str(caught.value)


def test_base_must_be_found_relative_to_its_file(folder):
    folder(common="a: 1\n", clip__child="_base_: ../common.yaml\nb: 2\n")
    assert load_config("clip/child.yaml") == {"a": 1, "b": 2}


def test_base_key_must_not_stay_in_the_config(folder):
    folder(base="a: 1\n", child="_base_: base.yaml\n")
    assert "_base_" not in load_config("child.yaml")


def test_later_base_must_win(folder):
    folder(one="a: 1\nb: 1\nc: 1\n", two="b: 2\nc: 2\n", child="_base_: [one.yaml, two.yaml]\nc: 3\n")
    assert load_config("child.yaml") == {"a": 1, "b": 2, "c": 3}


def test_bases_of_bases_must_be_read(folder):
    folder(one="a: 1\nb: 1\n", two="_base_: one.yaml\nb: 2\n", child="_base_: two.yaml\n")
    assert load_config("child.yaml") == {"a": 1, "b": 2}


def test_file_that_two_bases_share_must_be_no_circle(folder):
    folder(root="a: 1\n", one="_base_: root.yaml\n", two="_base_: root.yaml\n", child="_base_: [one.yaml, two.yaml]\n")
    assert load_config("child.yaml") == {"a": 1}


def test_mappings_must_merge_deeply_and_lists_be_replaced(folder):
    folder(base="m:\n  n: {x: 1, y: 2}\n  l: [1, 2, 3]\n", child="_base_: base.yaml\nm:\n  n: {y: 3}\n  l: [4]\n")
    assert load_config("child.yaml") == {"m": {"n": {"x": 1, "y": 3}, "l": [4]}}


def test_mapping_must_be_replaced_by_null(folder):
    folder(base="m: {x: 1}\n", child="_base_: base.yaml\nm: null\n")
    assert load_config("child.yaml") == {"m": None}


def test_other_name_must_replace_the_mapping_whole(folder):
    folder(base="o: {name: AdamW, beta: 0.9}\n", child="_base_: base.yaml\no: {name: SGD, lr: 1}\n")
    assert load_config("child.yaml") == {"o": {"name": "SGD", "lr": 1}}


@pytest.mark.parametrize("child", ["o: {name: AdamW, lr: 1}", "o: {lr: 1}"])
def test_same_name_or_none_must_merge(folder, child):
    folder(base="o: {name: AdamW, beta: 0.9}\n", child=f"_base_: base.yaml\n{child}\n")
    assert load_config("child.yaml") == {"o": {"name": "AdamW", "beta": 0.9, "lr": 1}}


def test_value_must_know_the_file_it_stands_in(folder):
    folder(base="o:\n  x: 1\n  y: 2\n", child="_base_: base.yaml\n\no:\n  y: 3\n")
    section = load_config("child.yaml")["o"]
    assert (section.where("x"), section.where("y")) == ("base.yaml:2", "child.yaml:4")


def test_circle_must_be_refused_with_its_files(folder):
    folder(one="_base_: two.yaml\n", two="a: 1\n_base_: one.yaml\n")
    assert refusal("one.yaml") == (
        "two.yaml:2: _base_: files build on each other in a circle: one.yaml -> two.yaml -> one.yaml"
    )


def test_file_based_on_itself_must_be_refused(folder):
    folder(one="_base_: ./one.yaml\n")
    assert "in a circle: one.yaml -> one.yaml" in refusal("one.yaml")


def test_bases_that_double_at_every_level_must_not_hang(folder):
    folder(f0="a: 1\n", **{f"f{n}": f"_base_: [f{n - 1}.yaml, f{n - 1}.yaml]\n" for n in range(1, 41)})
    assert load_config("f40.yaml") == {"a": 1}


def test_missing_base_must_be_named_where_it_is_asked_for(folder):
    folder(common="a: 1\n", child="b: 1\n_base_: comon.yaml\n")
    assert refusal("child.yaml").startswith(
        "child.yaml:2: _base_: comon.yaml does not exist. Did you mean 'common.yaml'?"
    )


@pytest.mark.parametrize("base", ["1", "{a: b}", "null", "[1]"])
def test_base_that_is_no_path_must_be_refused(folder, base):
    folder(child=f"_base_: {base}\n")
    assert refusal("child.yaml").startswith("child.yaml:1: _base_")


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_empty_file_must_be_refused(folder, text):
    folder(c=text)
    assert refusal("c.yaml") == "c.yaml: the file is empty; a config is a mapping of sections such as 'model:'"


@pytest.mark.parametrize("text", ["- 1\n", "hello\n", "3\n"])
def test_file_that_is_no_mapping_must_be_refused(folder, text):
    folder(c=text)
    assert refusal("c.yaml").startswith("c.yaml:1: a config is a mapping")


@pytest.mark.parametrize(
    "override, value",
    [
        ("o.lr=1e-4", 1e-4),
        ("o.lr=yes", "yes"),
        ("o.lr=[1, a]", [1, "a"]),
        ("o.lr=null", None),
        ("o.lr=''", ""),
        ("o.lr=a=b", "a=b"),
    ],
)
def test_override_must_be_read_as_yaml(folder, override, value):
    folder(c="o: {lr: 1, x: 2}\n")
    assert load_config("c.yaml", [override]) == {"o": {"lr": value, "x": 2}}


def test_override_must_be_its_values_place(folder):
    folder(c="o:\n  lr: 1\n  x: 2\n")
    section = load_config("c.yaml", ["o.lr=3"])["o"]
    assert (section.where("lr"), section.where("x")) == ("-o o.lr=3", "c.yaml:3")


def test_override_inside_a_section_must_leave_the_sections_place(folder):
    folder(c="a: 1\no:\n  lr: 1\n")
    config = load_config("c.yaml", ["o.lr=3"])
    assert (config.place, config.where("o")) == ("c.yaml:1", "c.yaml:2")


def test_override_must_reach_into_lists(folder):
    folder(c="e:\n- {x: 1}\n- {x: 2, y: 3}\n")
    config = load_config("c.yaml", ["e.1.x=5"])
    assert config == {"e": [{"x": 1}, {"x": 5, "y": 3}]}
    assert (config["e"][1].where("x"), config["e"].where(1)) == ("-o e.1.x=5", "c.yaml:3")


def test_override_must_replace_an_item_of_a_list(folder):
    folder(c="l: [1, 2]\n")
    assert load_config("c.yaml", ["l.0=x"])["l"] == ["x", 2]


def test_override_must_create_keys_and_sections(folder):
    folder(c="a: 1\n")
    config = load_config("c.yaml", ["b.c.d=2"])
    assert config == {"a": 1, "b": {"c": {"d": 2}}}
    assert config.where("b") == "-o b.c.d=2"


def test_override_of_a_key_that_is_a_number_must_work_in_a_mapping(folder):
    folder(c="m: {'0': a}\n")
    assert load_config("c.yaml", ["m.0=b"]) == {"m": {"0": "b"}}


def test_later_override_must_win(folder):
    folder(c="a: 1\n")
    assert load_config("c.yaml", ["a=2", "a=3"])["a"] == 3


@pytest.mark.parametrize("overrides", [["o.name=SGD", "o.lr=1"], ["o.lr=1", "o.name=SGD"]])
def test_override_of_a_name_must_replace_the_mapping_in_any_order(folder, overrides):
    folder(c="o: {name: AdamW, beta: 0.9}\n")
    assert load_config("c.yaml", overrides) == {"o": {"name": "SGD", "lr": 1}}


@pytest.mark.parametrize("override", ["", "a", "=1", ".a=1", "a.=1", "a..b=1"])
def test_override_with_bad_syntax_must_be_refused(folder, override):
    folder(c="a: 1\n")
    assert (
        refusal("c.yaml", [override]) == f"-o {override}: an override is written key.sub=value, as in optimizer.lr=1e-4"
    )


@pytest.mark.parametrize("override", ["a=", "a= "])
def test_override_without_a_value_must_be_refused(folder, override):
    folder(c="a: 1\n")
    assert "there is no value after '='" in refusal("c.yaml", [override])


def test_override_with_bad_yaml_must_be_refused(folder):
    folder(c="a: 1\n")
    assert refusal("c.yaml", ["a=[1"]).startswith("-o a=[1: this is not valid YAML")


@pytest.mark.parametrize("override", ["m.l.2=1", "m.l.-1=1", "m.l.x=1", "m.l.²=1"])
def test_override_of_an_unknown_position_must_be_refused(folder, override):
    folder(c="m: {l: [1, 2]}\n")
    key = override[4:-2]
    path = f"m.l.{key}"
    assert (
        refusal("c.yaml", [override])
        == f"-o {override}: {path}: {key!r} is not a position in this list; accepted: 0 to 1"
    )


def test_override_of_an_empty_list_must_be_refused(folder):
    folder(c="l: []\n")
    assert refusal("c.yaml", ["l.0=1"]).endswith("accepted: none, it is empty")


def test_files_must_not_be_changed_by_merging(folder):
    folder(root="m: {x: 1}\n", one="_base_: root.yaml\nm: {y: 1}\n", child="_base_: [one.yaml, root.yaml]\n")
    assert load_config("child.yaml") == {"m": {"x": 1, "y": 1}}


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda node: pickle.loads(pickle.dumps(node))])
def test_node_must_keep_its_places_when_copied(folder, duplicate):
    folder(c="a:\n  b: [1]\n")
    node = duplicate(load_config("c.yaml"))
    assert (node["a"].where("b"), node["a"]["b"].where(0)) == ("c.yaml:2", "c.yaml:2")


def test_node_must_give_its_own_place_for_a_key_it_lacks():
    assert Node({"a": 1}, "c.yaml:1").where("b") == "c.yaml:1"
