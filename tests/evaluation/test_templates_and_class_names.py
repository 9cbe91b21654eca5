import pytest

from passl.evaluation.class_names import CLASS_NAMES, get_class_names
from passl.evaluation.templates import TEMPLATES, get_templates
from passl.utils.errors import UserError


@pytest.fixture
def written(tmp_path):
    def write(content, name="list.txt"):
        path = tmp_path / name
        path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        return path

    return write


@pytest.mark.parametrize(
    ("name", "count"), [("food101", 1), ("cifar10", 18), ("cifar100", 18), ("imagenet", 7), ("plain", 1)]
)
def test_known_templates_are_as_many_as_published(name, count):
    templates = get_templates(name)
    assert len(set(templates)) == len(templates) == count


def test_food101_has_the_published_template():
    assert get_templates("food101") == ["a photo of {}, a type of food."]


def test_every_known_template_has_one_place_for_the_name():
    assert [t for templates in TEMPLATES.values() for t in templates if t.count("{}") != 1] == []


@pytest.mark.parametrize(("name", "count"), [("food101", 101), ("cifar10", 10), ("cifar100", 100), ("digits", 10)])
def test_known_class_names_are_complete_and_distinct(name, count):
    names = get_class_names(name)
    assert len(set(names)) == len(names) == count
    assert all(name == " ".join(name.split()) and name for name in names)


@pytest.mark.parametrize("name", ["food101", "cifar10", "cifar100"])
def test_class_names_have_the_order_of_sorted_folder_names(name):
    folders = [name.replace(" ", "_") for name in get_class_names(name)]
    assert folders == sorted(folders)


def test_food101_begins_and_ends_as_its_folders_do():
    names = get_class_names("food101")
    assert (names[0], names[16], names[17], names[-1]) == ("apple pie", "cheese plate", "cheesecake", "waffles")


def test_digits_are_words_in_order():
    assert get_class_names("digits")[7] == "seven"


def test_returned_lists_are_the_callers_own():
    get_templates("plain").append("x")
    get_class_names("digits").append("x")
    assert (TEMPLATES["plain"], len(CLASS_NAMES["digits"])) == (["{}"], 10)


def test_lists_are_taken_as_they_are():
    assert get_templates(["one {}", "two {} "]) == ["one {}", "two {}"]
    assert get_class_names(("cat", "dog")) == ["cat", "dog"]


def test_file_is_read_with_mark_windows_line_ends_and_empty_lines(written):
    path = written(b"\xef\xbb\xbfcat\r\n\r\n  caf\xc3\xa9 \r\n\xe7\x8c\xab")
    assert get_class_names(path) == get_class_names(str(path)) == ["cat", "café", "猫"]


def test_only_line_ends_separate_entries(written):
    assert get_class_names(written("one\u2028part\nform\x0cfeed\n")) == ["one\u2028part", "form\x0cfeed"]


@pytest.mark.parametrize(("template", "count"), [("a photo", "none"), ("{} and {}", "2"), ("a {name}", "none")])
def test_template_without_exactly_one_place_is_named_with_file_and_line(template, count, written):
    path = written(f"a {{}}\n\n{template}\n")
    with pytest.raises(UserError) as error:
        get_templates(path)
    assert f"{path}, line 3" in str(error.value) and f"has {count}" in str(error.value)


def test_bad_template_in_a_list_is_numbered():
    with pytest.raises(UserError, match="entry 2 of templates: a template has exactly one {}"):
        get_templates(["{}", "nothing"])


def test_single_template_is_told_to_be_a_list():
    with pytest.raises(UserError, match=r"write \['a photo of a {}.'\]"):
        get_templates("a photo of a {}.")


def test_class_name_given_twice_is_named_with_both_lines(written):
    with pytest.raises(UserError, match=r"line 4: the class name 'cat' stands already at .*list.txt, line 1"):
        get_class_names(written("cat\ndog\n\n cat \n"))


@pytest.mark.parametrize(
    ("get", "name", "hint"), [(get_templates, "food-101", "food101"), (get_class_names, "Cifar10", "cifar10")]
)
def test_unknown_name_says_the_nearest(get, name, hint):
    with pytest.raises(UserError, match=f"no known set of .* named '{name}'. Did you mean '{hint}'"):
        get(name)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="class names: the file .*missing.txt cannot be read: No such file"):
        get_class_names(str(tmp_path / "missing.txt"))


def test_folder_in_place_of_a_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        get_class_names(tmp_path)


def test_file_that_is_not_utf8_is_named_with_its_line(written):
    with pytest.raises(UserError, match="list.txt, line 2: the file is not UTF-8"):
        get_class_names(written(b"cat\ncaf\xe9\n"))


@pytest.mark.parametrize("value", [[], "empty.txt"], ids=str)
def test_empty_list_is_refused(value, written, monkeypatch):
    monkeypatch.chdir(written("\n \n", "empty.txt").parent)
    with pytest.raises(UserError, match="holds no entry"):
        get_class_names(value)


@pytest.mark.parametrize("value", [["cat", 3], ["cat", ""], ["cat", None]], ids=str)
def test_entry_that_is_no_text_is_numbered(value):
    with pytest.raises(UserError, match="entry 2 of class names is not a text"):
        get_class_names(value)


@pytest.mark.parametrize("value", [3, None, {"a": 1}], ids=str)
def test_value_of_a_wrong_type_is_refused(value):
    with pytest.raises(UserError, match="class names are the name of a known set"):
        get_class_names(value)
