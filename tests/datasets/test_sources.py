"""Sources: what belongs together, in which order, and one clear message for every layout that is wrong."""

import inspect
import json
import os
import typing

import pytest

from passl.datasets import Food101, ImageFolder, ImageTextFolder, ImageTextJsonLines, ImageTextTable
from passl.datasets.images import BadSample
from passl.utils.errors import UserError
from passl.utils.registry import DATASETS


def write(root, files):
    """Files by relative path; pictures need no content here, since sources open none."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return str(root)


def relative(source, root):
    return [os.path.relpath(sample.image, root).replace(os.sep, "/") for sample in source.samples]


# ---------------------------------------------------------------------------------------------- stem pairs


def test_folder_pairs_stems_across_folders(tmp_path):
    root = write(tmp_path, {"img/cat.jpg": "", "text/cat.txt": "a cat\n", "dog.PNG": "", "dog.txt": "a dog"})
    source = ImageTextFolder(root)
    assert relative(source, root) == ["dog.PNG", "img/cat.jpg"]
    assert [sample.captions for sample in source.samples] == [("a dog",), ("a cat",)]
    assert len(source) == 2 and source.samples[0].label is None


def test_folder_takes_a_caption_from_each_line(tmp_path):
    root = write(tmp_path, {"a.jpg": "", "a.txt": "\ufeffone\r\n\r\n  two  \n\n"})
    assert ImageTextFolder(root).samples[0].captions == ("one", "two")


def test_folder_order_is_that_of_paths_whatever_the_disk_says(tmp_path):
    names = ["b/1", "a/2", "B/3", "é/4", "a b/5", "猫/6"]
    for name in reversed(names):
        write(tmp_path, {f"{name}.jpg": "", f"{name}.txt": "x"})
    assert relative(ImageTextFolder(str(tmp_path)), tmp_path) == [f"{name}.jpg" for name in sorted(names)]


def test_folder_with_one_stem_in_two_folders_names_both(tmp_path):
    root = write(tmp_path, {"a/1.jpg": "", "b/1.jpg": "", "a/1.txt": "x"})
    with pytest.raises(UserError, match=r"two pictures of the same stem: a/1\.jpg and b/1\.jpg"):
        ImageTextFolder(root)


def test_folder_with_two_texts_of_a_stem_names_both(tmp_path):
    root = write(tmp_path, {"1.jpg": "", "b/1.txt": "x", "c/1.txt": "x"})
    with pytest.raises(UserError, match=r"two texts of the same stem: b/1\.txt and c/1\.txt"):
        ImageTextFolder(root)


def test_folder_with_two_suffixes_of_a_stem_names_both(tmp_path):
    root = write(tmp_path, {"1.jpg": "", "1.png": "", "1.txt": "x"})
    with pytest.raises(UserError, match=r"1\.jpg and 1\.png"):
        ImageTextFolder(root)


def test_folder_keeps_stems_apart_that_differ_in_case_or_after_a_dot(tmp_path):
    root = write(
        tmp_path, {"a.1.jpg": "", "a.1.txt": "1", "a.2.jpg": "", "a.2.txt": "2", "A.1.jpg": "", "A.1.txt": "3"}
    )
    assert [sample.captions for sample in ImageTextFolder(root).samples] == [("3",), ("1",), ("2",)]


def test_folder_reports_what_it_leaves_out_in_one_line(tmp_path, messages):
    root = write(tmp_path, {"a.jpg": "", "a.txt": "x", "b.jpg": "", "c.txt": "x", "d.txt": "x"})
    assert len(ImageTextFolder(root)) == 1
    assert [record.getMessage() for record in messages.records] == [
        f"{root}: 1 pairs; left out: 1 pictures without text (b.jpg), 2 texts without picture (c.txt, d.txt)"
    ]


def test_folder_with_all_partners_says_nothing(tmp_path, messages):
    ImageTextFolder(write(tmp_path, {"a.jpg": "", "a.txt": "x"}))
    assert not messages.records


def test_folder_without_pairs_says_what_is_expected(tmp_path):
    root = write(tmp_path, {"a.jpg": "", "b.txt": ""})
    with pytest.raises(UserError, match=r"1 pictures and 1 texts, and none of the same stem; expected: pictures"):
        ImageTextFolder(root)


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none does not exist; expected: pictures"):
        ImageTextFolder(str(tmp_path / "none"))


def test_file_in_place_of_a_folder_is_named(tmp_path):
    root = write(tmp_path, {"file": ""})
    with pytest.raises(UserError, match=r"file is not a folder"):
        ImageTextFolder(root + "/file")


def test_folder_does_not_hang_on_links_in_a_circle(tmp_path):
    root = write(tmp_path, {"a/1.jpg": "", "a/1.txt": "x"})
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    (tmp_path / "z").symlink_to(tmp_path / "a")
    assert relative(ImageTextFolder(root), root) == ["a/1.jpg"]


def test_folder_follows_links_to_other_places(tmp_path):
    write(tmp_path / "elsewhere", {"1.jpg": "", "1.txt": "x"})
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "elsewhere")
    assert relative(ImageTextFolder(str(root)), root) == ["link/1.jpg"]


def test_folder_leaves_hidden_files_alone(tmp_path):
    root = write(tmp_path, {"1.jpg": "", "1.txt": "x", "._1.jpg": "", ".unfinished-x/1.jpg": ""})
    assert relative(ImageTextFolder(root), root) == ["1.jpg"]


def test_text_that_is_not_utf8_is_a_bad_sample(tmp_path):
    root = write(tmp_path, {"1.jpg": "", "1.txt": "猫".encode("utf-16")})
    with pytest.raises(BadSample, match=r"1\.txt: not UTF-8"):
        ImageTextFolder(root).samples[0]


def test_blank_text_is_a_sample_without_captions(tmp_path):
    root = write(tmp_path, {"1.jpg": "", "1.txt": " \n\n"})
    assert ImageTextFolder(root).samples[0].captions == ()


def test_old_name_of_the_paired_folder_still_works(tmp_path):
    root = write(tmp_path, {"1.jpg": "", "1.txt": "x"})
    assert isinstance(DATASETS.build({"name": "TextImageDataset", "root": root}), ImageTextFolder)


# ---------------------------------------------------------------------------------------------- tables


def table(tmp_path, text, name="pairs.csv", **keys):
    return ImageTextTable(write(tmp_path, {name: text}) + f"/{name}", **keys)


def test_table_reads_columns_by_name(tmp_path):
    source = table(tmp_path, 'id,title,filepath\n1,"a cat, asleep",img/1.jpg\n2,"say ""hi""",/abs/2.jpg\n')
    assert [tuple(sample) for sample in source.samples] == [
        (str(tmp_path / "img/1.jpg"), ("a cat, asleep",), None),
        ("/abs/2.jpg", ('say "hi"',), None),
    ]


def test_table_takes_byte_order_mark_and_windows_line_ends(tmp_path):
    source = table(tmp_path, b"\xef\xbb\xbffilepath,title\r\n1.jpg,a cat\r\n\r\n2.jpg,a dog\r\n")
    assert [sample.captions for sample in source.samples] == [("a cat",), ("a dog",)]


def test_table_takes_a_line_break_inside_quotes(tmp_path):
    assert table(tmp_path, 'filepath,title\n1.jpg,"two\nlines"\n').samples[0].captions == ("two\nlines",)


def test_tsv_is_separated_by_tabs(tmp_path):
    source = table(tmp_path, "filepath\ttitle\n1.jpg\ta, b\n", "pairs.tsv")
    assert source.samples[0].captions == ("a, b",)


def test_table_with_another_separator_and_columns(tmp_path):
    source = table(
        tmp_path, "Bild;Text\n1.jpg;x\n", "pairs.txt", separator=";", image_column="Bild", caption_column="Text"
    )
    assert source.samples[0].captions == ("x",)


def test_table_of_unknown_suffix_asks_for_the_separator(tmp_path):
    with pytest.raises(UserError, match="separator"):
        table(tmp_path, "filepath title\n", "pairs.txt")


def test_table_without_the_column_names_those_it_has_and_the_nearest(tmp_path):
    with pytest.raises(UserError, match=r"no column 'title'. Did you mean 'titel'\? Its columns: filepath, titel"):
        table(tmp_path, "filepath,titel\n1.jpg,x\n")


def test_table_with_the_wrong_separator_says_so(tmp_path):
    with pytest.raises(UserError, match=r"only one: is ',' what separates them\?"):
        table(tmp_path, "filepath;title\n1.jpg;x\n")


def test_table_without_rows_is_an_error(tmp_path):
    with pytest.raises(UserError, match="a header and no row"):
        table(tmp_path, "filepath,title\n")


def test_empty_table_is_an_error(tmp_path):
    with pytest.raises(UserError, match="is empty; expected: a header with the columns filepath, title"):
        table(tmp_path, "")


def test_row_of_another_length_is_named_with_its_line(tmp_path):
    with pytest.raises(UserError, match=r"pairs\.csv:3: 3 columns, and the header has 2"):
        table(tmp_path, "filepath,title\n1.jpg,x\n2.jpg,a cat, asleep\n")


def test_quote_that_never_ends_is_named_with_the_way_out(tmp_path):
    text = 'filepath\ttitle\n1.jpg\t"open\n2.jpg\tx\n'
    with pytest.raises(UserError, match=r"pairs\.tsv:3: .*`quoted: false`"):
        table(tmp_path, text, "pairs.tsv")
    assert table(tmp_path, text, "pairs.tsv", quoted=False).samples[0].captions == ('"open',)


def test_row_without_picture_is_named_with_its_line(tmp_path):
    with pytest.raises(UserError, match=r"pairs\.csv:3: the column 'filepath' is empty"):
        table(tmp_path, "filepath,title\n1.jpg,x\n,y\n")


def test_table_that_is_not_utf8_is_an_error(tmp_path):
    with pytest.raises(UserError, match="not UTF-8"):
        table(tmp_path, "filepath,title\n1.jpg,é\n".encode("latin-1"))


def test_table_takes_a_caption_of_a_megabyte(tmp_path):
    source = table(tmp_path, "filepath,title\n1.jpg," + "cat " * 2**18 + "\n")
    assert len(source.samples[0].captions[0]) == 2**20 - 1


def test_table_keeps_blank_captions_and_repeated_rows_as_samples(tmp_path):
    source = table(tmp_path, "filepath,title\n1.jpg,\n1.jpg,x\n1.jpg,x\n")
    assert [sample.captions for sample in source.samples] == [("",), ("x",), ("x",)]


def test_table_root_takes_the_place_of_its_own_folder(tmp_path):
    assert table(tmp_path, "filepath,title\n1.jpg,x\n", root="/pictures").samples[0].image == "/pictures/1.jpg"


def test_missing_table_is_named(tmp_path):
    with pytest.raises(UserError, match="there is no table"):
        ImageTextTable(str(tmp_path / "none.csv"))


def test_table_labels_are_the_sorted_names_in_the_column(tmp_path):
    source = table(tmp_path, "filepath,kind\n1.jpg,dog\n2.jpg,cat\n", caption_column=None, label_column="kind")
    assert (source.class_names, [sample.label for sample in source.samples]) == (["cat", "dog"], [1, 0])
    assert not source.has_captions


def labelled_table(tmp_path, labels, classes):
    write(tmp_path, {"classes.txt": classes})
    rows = "".join(f"{number}.jpg,x,{label}\n" for number, label in enumerate(labels))
    return table(
        tmp_path, f"filepath,title,kind\n{rows}", label_column="kind", class_names=str(tmp_path / "classes.txt")
    )


def test_table_labels_follow_the_class_file(tmp_path):
    source = labelled_table(tmp_path, ["dog", "cat"], classes="dog\ncat\nhorse\n")
    assert (source.class_names, [sample.label for sample in source.samples]) == (["dog", "cat", "horse"], [0, 1])


def test_unknown_class_is_named_with_file_line_and_nearest(tmp_path):
    with pytest.raises(UserError, match=r"pairs\.csv:3: class 'dgo' is not in .*classes\.txt\. Did you mean 'dog'"):
        labelled_table(tmp_path, ["dog", "dgo"], classes="dog\ncat\n")


def test_class_file_with_a_name_twice_is_named_with_its_line(tmp_path):
    with pytest.raises(UserError, match=r"classes\.txt:3: class 'dog' stands already in line 1"):
        labelled_table(tmp_path, ["dog"], classes="dog\ncat\ndog\n")


# ---------------------------------------------------------------------------------------------- JSON lines


def json_lines(tmp_path, text, **keys):
    return ImageTextJsonLines(write(tmp_path, {"pairs.jsonl": text}) + "/pairs.jsonl", **keys)


def test_json_lines_take_a_list_or_a_text(tmp_path):
    lines = [{"image_path": "1.jpg", "captions": ["a", "b"]}, {"image_path": "/2.jpg", "captions": "c", "url": 3}]
    source = json_lines(tmp_path, "\n\n".join(json.dumps(line) for line in lines) + "\r\n")
    assert [tuple(sample) for sample in source.samples] == [
        (str(tmp_path / "1.jpg"), ("a", "b"), None),
        ("/2.jpg", ("c",), None),
    ]


def test_json_lines_take_other_keys_and_root(tmp_path):
    source = json_lines(tmp_path, '{"file": "1.jpg", "text": "x"}', root="/r", image_key="file", captions_key="text")
    assert source.samples[0][:2] == ("/r/1.jpg", ("x",))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"image_path": "1.jpg"', "not a JSON object"),
        ("[", "one object a line is read, not one document"),
        ("[" * 100000, "not a JSON object"),
        ('["1.jpg", "x"]', "expected a JSON object, not list"),
        ('{"image_path": "1.jpg", "caption": "x"}', "the key 'captions' is missing. Did you mean 'caption'"),
        ('{"image_path": 7, "captions": "x"}', "'image_path' is 7, not a path"),
        ('{"image_path": " ", "captions": "x"}', "'image_path' is ' ', not a path"),
        ('{"image_path": "1.jpg", "captions": [1]}', "neither a text nor a list of texts"),
        ('{"image_path": "1.jpg", "captions": null}', "neither a text nor a list of texts"),
    ],
)
def test_json_line_at_fault_is_named(tmp_path, line, message):
    with pytest.raises(UserError, match=r"pairs\.jsonl:2: ") as caught:
        json_lines(tmp_path, f'{{"image_path": "0.jpg", "captions": "x"}}\n{line}\n')
    assert message in str(caught.value)


def test_json_lines_without_samples_are_an_error(tmp_path):
    with pytest.raises(UserError, match="holds no sample"):
        json_lines(tmp_path, "\n\n")


# ---------------------------------------------------------------------------------------------- class folders


def test_image_folder_labels_by_folder(tmp_path):
    root = write(tmp_path, {"b/2.jpg": "", "b/1.jpg": "", "a_c/x/3.jpg": "", "readme.txt": ""})
    source = ImageFolder(root)
    assert source.class_names == ["a c", "b"] and not source.has_captions
    assert [(path, sample.label) for path, sample in zip(relative(source, root), source.samples)] == [
        ("a_c/x/3.jpg", 0),
        ("b/1.jpg", 1),
        ("b/2.jpg", 1),
    ]


def test_image_folder_orders_numbers_by_value(tmp_path):
    root = write(tmp_path, {f"{name}/1.jpg": "" for name in ("10", "9", "a2", "a10", "1")})
    assert ImageFolder(root).class_names == ["1", "9", "10", "a2", "a10"]


def test_image_folder_takes_order_from_leading_numbers(tmp_path):
    root = write(tmp_path, {"10-ten/1.jpg": "", "2-two/1.jpg": "", "0-zero/1.jpg": ""})
    assert ImageFolder(root).class_names == ["zero", "two", "ten"]


def test_image_folder_keeps_numbers_unless_all_have_them(tmp_path):
    root = write(tmp_path, {"2-two/1.jpg": "", "other/1.jpg": ""})
    assert ImageFolder(root).class_names == ["2-two", "other"]


def test_image_folder_with_two_folders_of_one_class_names_them(tmp_path):
    root = write(tmp_path, {"hot_dog/1.jpg": "", "hot dog/1.jpg": ""})
    with pytest.raises(UserError, match="hot dog, hot_dog all stand for the class 'hot dog'"):
        ImageFolder(root)


def test_image_folder_reports_classes_without_pictures(tmp_path, messages):
    root = write(tmp_path, {"a/1.jpg": "", "b/readme.txt": ""})
    assert ImageFolder(root).class_names == ["a", "b"]
    assert [record.getMessage() for record in messages.records] == [f"{root}: 1 classes without pictures: b"]


def test_image_folder_without_folders_says_what_is_expected(tmp_path):
    with pytest.raises(UserError, match="expected: one folder per class"):
        ImageFolder(write(tmp_path, {"1.jpg": ""}))


# ---------------------------------------------------------------------------------------------- Food-101

OFFICIAL = {
    "images/apple_pie/1.jpg": "",
    "images/apple_pie/2.jpg": "",
    "images/cheese_plate/3.jpg": "",
    "images/cheesecake/4.jpg": "",
    "meta/classes.txt": "apple_pie\ncheesecake\ncheese_plate\n",
    "meta/labels.txt": "Apple pie\nCheesecake\nCheese plate\n",
    "meta/train.txt": "cheesecake/4\napple_pie/2\napple_pie/1\n",
    "meta/test.txt": "cheese_plate/3\n",
}


def test_food101_reads_the_official_layout(tmp_path, messages):
    root = write(tmp_path, OFFICIAL)
    source = Food101(root)
    assert source.class_names == ["apple pie", "cheese plate", "cheesecake"]
    assert relative(source, root) == ["images/apple_pie/1.jpg", "images/apple_pie/2.jpg", "images/cheesecake/4.jpg"]
    assert [sample.label for sample in source.samples] == [0, 0, 2]
    assert source.samples[0].captions == ("a photo of apple pie, a type of food.",)
    assert [record.getMessage() for record in messages.records] == [
        f"Food-101: official layout in {root}, train split, 3 pictures"
    ]


def test_food101_test_split_is_the_official_one(tmp_path):
    source = Food101(write(tmp_path, {**OFFICIAL, "captions/1.jpg": "", "captions/1.txt": "x"}), split="test")
    assert [(os.path.basename(sample.image), sample.label) for sample in source.samples] == [("3.jpg", 1)]


def test_food101_is_found_where_its_archive_unpacks(tmp_path):
    write(tmp_path / "food-101", OFFICIAL)
    assert len(Food101(str(tmp_path))) == 3


def test_food101_prefers_captions_for_training(tmp_path, messages):
    root = write(tmp_path, {**OFFICIAL, "captions/1.jpg": "", "captions/1.txt": "x\ny\n"})
    source = Food101(root)
    assert source.samples[0].captions == ("x", "y") and source.class_names is None
    assert [record.getMessage() for record in messages.records] == [
        f"Food-101: PASSL's layout in {root}/captions, 1 pairs"
    ]


def test_food101_layout_can_be_chosen(tmp_path):
    root = write(tmp_path, {**OFFICIAL, "captions/1.jpg": "", "captions/1.txt": "x"})
    assert len(Food101(root, layout="official")) == 3
    assert len(Food101(root, layout="captions")) == 1


def test_food101_captions_have_no_test_split(tmp_path):
    with pytest.raises(UserError, match="no split 'test'"):
        Food101(str(tmp_path), split="test", layout="captions")


@pytest.mark.parametrize("make", [False, True], ids=["missing", "empty"])
def test_food101_that_is_not_there_names_layouts_and_command(tmp_path, make):
    root = tmp_path / "FOOD101"
    if make:
        root.mkdir()
    with pytest.raises(UserError) as caught:
        Food101(str(root))
    message = str(caught.value)
    for part in (f"{root}/images/<class>/<id>.jpg", "meta/classes.txt", f"{root}/captions/"):
        assert part in message
    assert f"`passl data prepare food101 --root {root}`" in message


def test_food101_in_parts_names_what_is_missing(tmp_path):
    root = write(tmp_path, {path: text for path, text in OFFICIAL.items() if path != "meta/classes.txt"})
    with pytest.raises(UserError, match=r"lacks meta/classes\.txt"):
        Food101(root)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"meta/train.txt": "apple_pie/1\napple_py/2\n"},
            r"train\.txt:2: class 'apple_py' .* Did you mean 'apple_pie'",
        ),
        ({"meta/train.txt": "apple_pie\n"}, r"train\.txt:1: 'apple_pie' is not of the form"),
        ({"meta/train.txt": "\n"}, r"train\.txt is empty"),
        ({"meta/classes.txt": "apple_pie\ncheesecake\n"}, r"folder 'cheese_plate', a class that is missing in"),
        (
            {"meta/classes.txt": "apple_pie\ncheesecake\ncheese_plate\nsoup\n"},
            r"classes\.txt: class 'soup' has no folder",
        ),
        ({"meta/classes.txt": "apple_pie\napple_pie\n"}, r"classes\.txt:2: class 'apple_pie' stands already"),
        ({"meta/labels.txt": "Apple pie\n"}, r"labels\.txt has 1 classes"),
    ],
)
def test_food101_that_contradicts_itself_is_named(tmp_path, changed, message):
    with pytest.raises(UserError, match=message):
        Food101(write(tmp_path, {**OFFICIAL, **changed}))


# ---------------------------------------------------------------------------------------------- all


def test_every_config_key_is_annotated_and_documented():
    for name in ("Food101", "ImageFolder", "ImageTextFolder", "ImageTextJsonLines", "ImageTextTable"):
        entry = DATASETS.get(name)
        hints = typing.get_type_hints(entry.__init__)
        for parameter in list(inspect.signature(entry.__init__).parameters)[1:]:
            assert parameter in hints and f"    {parameter}:" in inspect.getdoc(entry), (name, parameter)
