"""Preparation writes whole folders or nothing, once, in layouts that the sources read."""

import os

import numpy as np
import pytest
from PIL import Image

from passl.datasets import Food101, ImageFolder, ImageTextFolder, load_image, prepare
from passl.utils.errors import UserError


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    pytest.importorskip("sklearn")
    return prepare.prepare_digits(tmp_path_factory.mktemp("data") / "digits")


def test_digits_are_split_into_1437_and_360(digits):
    train, test = ImageTextFolder(str(digits / "train")), ImageFolder(str(digits / "test"))
    assert (len(train), len(test)) == (1437, 360)
    stems = {os.path.basename(sample.image) for source in (train, test) for sample in source.samples}
    assert len(stems) == 1797


def test_digit_classes_are_zero_to_nine_with_as_many_of_each(digits):
    source = ImageFolder(str(digits / "test"))
    assert source.class_names == list(prepare.DIGIT_NAMES)
    assert np.bincount([sample.label for sample in source.samples]).tolist() == [36] * 10


def test_digit_pictures_are_those_of_scikit_learn(digits):
    from sklearn.datasets import load_digits

    sample = ImageFolder(str(digits / "test")).samples[100]
    number = int(os.path.basename(sample.image)[:-4])
    values = np.asarray(load_image(sample.image))[:, :, 0]
    assert (values == np.rint(load_digits().images[number] * 255 / 16)).all()
    assert load_digits().target[number] == sample.label


def test_digit_captions_name_their_digit_in_words_and_figures(digits):
    from sklearn.datasets import load_digits

    sample = ImageTextFolder(str(digits / "train")).samples[7]
    digit = int(load_digits().target[int(os.path.basename(sample.image)[:-4])])
    assert len(sample.captions) == 7
    for caption in sample.captions:
        assert prepare.DIGIT_NAMES[digit] in caption or str(digit) in caption


def test_digits_are_written_once(digits):
    mark = digits / "train" / "mark"
    mark.touch()
    prepare.prepare_digits(digits)
    assert mark.exists()
    mark.unlink()


def test_digits_do_not_replace_what_is_not_theirs(tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(UserError, match="holds something else"):
        prepare.prepare_digits(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_digits_without_scikit_learn_say_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(UserError, match="pip install scikit-learn"):
        prepare.prepare_digits(tmp_path / "digits")
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------------------------------- Food-101


@pytest.fixture
def food(tmp_path):
    for path in ("apple_pie/1", "apple_pie/2", "pho/3"):
        target = tmp_path / "images" / f"{path}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (200, 100, 50)).save(target)
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/classes.txt").write_text("apple_pie\npho\n")
    (tmp_path / "meta/train.txt").write_text("apple_pie/1\npho/3\n")
    (tmp_path / "meta/test.txt").write_text("apple_pie/2\n")
    return tmp_path


@pytest.mark.parametrize("mode", ["hardlink", "symlink", "copy"])
def test_food101_captions_are_made_from_the_training_split(food, mode):
    prepare.prepare_food101(food, mode=mode)
    source = Food101(str(food), layout="captions")
    assert [os.path.basename(sample.image) for sample in source.samples] == ["apple_pie_1.jpg", "pho_3.jpg"]
    assert source.samples[0].captions == ("a photo of apple pie, a type of food.",)
    assert load_image(source.samples[0].image).size == (8, 8)


def test_food101_hard_links_need_no_space(food):
    prepare.prepare_food101(food)
    assert (food / "captions/pho_3.jpg").samefile(food / "images/pho/3.jpg")


def test_food101_symbolic_links_survive_moving_the_folder(food):
    prepare.prepare_food101(food, mode="symlink")
    moved = food.parent / "moved"
    food.rename(moved)
    assert load_image(moved / "captions/pho_3.jpg").size == (8, 8)


def test_food101_captions_that_stand_are_left_alone(food):
    prepare.prepare_food101(food)
    (food / "captions/pho_3.txt").write_text("mine\n")
    prepare.prepare_food101(food)
    assert (food / "captions/pho_3.txt").read_text() == "mine\n"


def test_food101_reports_missing_pictures_and_writes_the_others(food, messages):
    (food / "images/pho/3.jpg").unlink()
    prepare.prepare_food101(food)
    assert sorted(path.name for path in (food / "captions").iterdir()) == ["apple_pie_1.jpg", "apple_pie_1.txt"]
    assert "1 of 2 pictures are missing" in messages.text


def test_food101_without_any_picture_writes_nothing(food):
    for path in (food / "images").glob("*/*.jpg"):
        path.unlink()
    with pytest.raises(UserError, match="none of the 2 pictures"):
        prepare.prepare_food101(food)
    assert sorted(path.name for path in food.iterdir()) == ["images", "meta"]


def test_food101_without_official_layout_says_what_is_expected(tmp_path):
    with pytest.raises(UserError, match="expected the official layout"):
        prepare.prepare_food101(tmp_path)


def test_food101_links_across_devices_say_what_to_do_instead(food, monkeypatch):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(UserError, match="--mode copy"):
        prepare.prepare_food101(food)
    assert not (food / "captions").exists()


# ---------------------------------------------------------------------------------------------- scikit-image


def test_skimage_pairs_have_the_eight_of_the_demonstration(tmp_path):
    pytest.importorskip("skimage")
    source = ImageTextFolder(str(prepare.prepare_skimage_pairs(tmp_path / "pairs")))
    captions = {os.path.splitext(os.path.basename(sample.image))[0]: sample.captions for sample in source.samples}
    assert captions["chelsea"] == ("a facial photo of a tabby cat",)
    assert {"page", "astronaut", "rocket", "motorcycle_right", "camera", "horse", "coffee"} <= set(captions)
    assert len({load_image(sample.image).size for sample in source.samples}) > 1


def test_skimage_pairs_are_written_once(tmp_path):
    pytest.importorskip("skimage")
    root = prepare.prepare_skimage_pairs(tmp_path / "pairs")
    (root / "coffee.txt").write_text("mine\n")
    prepare.prepare_skimage_pairs(root)
    assert (root / "coffee.txt").read_text() == "mine\n"
