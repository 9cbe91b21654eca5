"""Transforms: equality with the reference's arithmetic, randomness from the generator alone, clear refusals."""

import hashlib
import inspect
import typing

import numpy as np
import pytest
from PIL import Image

from passl.datasets.preprocess import transforms
from passl.datasets.preprocess.transforms import (
    CenterCrop,
    ColorJitter,
    Compose,
    Normalize,
    RandomAffine,
    RandomCrop,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomResizedCrop,
    Resize,
    ToRGB,
    ToTensor,
    build_transform,
    eval_transform,
    train_transform,
)
from passl.utils.constants import OPENAI_MEAN, OPENAI_STD
from passl.utils.errors import UserError
from passl.utils.registry import TRANSFORMS

OPENAI = {
    "size": 224,
    "mean": list(OPENAI_MEAN),
    "std": list(OPENAI_STD),
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}
RANDOM = [
    RandomCrop(20),
    RandomResizedCrop(20, scale=(0.3, 0.9)),
    RandomHorizontalFlip(),
    RandomAffine(15, 0.1, (0.8, 1.2)),
    ColorJitter(0.4, 0.4, 0.4, 0.1),
    RandomGrayscale(0.5),
]


def picture(width=61, height=45, seed=0):
    """Ramps with noise: interpolation leaves traces in every pixel. Integers only, so that it is the same everywhere."""
    x, y = np.meshgrid(np.arange(width) * 200 // width, np.arange(height) * 200 // height)
    noise = np.random.RandomState(seed).randint(0, 56, (height, width, 3))
    return Image.fromarray((np.stack([x, y, (x + y) // 2], axis=-1) + noise).astype(np.uint8))


def digest(values):
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:16]


# ---------------------------------------------------------------------------------------------- equality


@pytest.mark.parametrize(
    ("size", "expected"),
    [((500, 333), (336, 224)), ((333, 500), (224, 336)), ((301, 997), (224, 741)), ((224, 224), (224, 224))],
)
def test_resize_truncates_the_long_side_as_the_reference_does(size, expected):
    assert Resize(224)(Image.new("RGB", size)).size == expected


def test_resize_equals_pillow_with_bicubic_and_antialiasing():
    image = picture(200, 150)
    expected = image.resize((int(64 * 200 / 150), 64), Image.Resampling.BICUBIC)
    assert (np.asarray(Resize(64)(image)) == np.asarray(expected)).all()


def test_squash_makes_a_square():
    image = picture(200, 150)
    expected = image.resize((64, 64), Image.Resampling.BILINEAR)
    assert (np.asarray(Resize(64, "bilinear", "squash")(image)) == np.asarray(expected)).all()


@pytest.mark.parametrize(("width", "left"), [(10, 0), (11, 0), (12, 1), (13, 2), (14, 2), (15, 2), (16, 3), (17, 4)])
def test_center_crop_rounds_half_to_even_as_the_reference_does(width, left):
    columns = np.tile(np.arange(width, dtype=np.uint8), (10, 1))
    image = Image.fromarray(np.stack([columns] * 3, axis=-1))
    assert np.asarray(CenterCrop(10)(image))[0, 0, 0] == left


def test_center_crop_surrounds_a_smaller_picture_with_black():
    values = np.asarray(CenterCrop(6)(Image.new("RGB", (3, 8), (9, 9, 9))))[:, :, 0]
    assert values.tolist() == [[0, 9, 9, 9, 0, 0]] * 6


def test_to_tensor_divides_in_float32():
    image = picture()
    expected = (np.asarray(image).astype(np.float32) / np.float32(255)).transpose(2, 0, 1)
    values = ToTensor()(image)
    assert values.dtype == np.float32 and (values == expected).all()


def test_normalize_subtracts_and_divides_in_float32():
    values = ToTensor()(picture())
    mean, std = (np.array(numbers, np.float32)[:, None, None] for numbers in (OPENAI_MEAN, OPENAI_STD))
    normalized = Normalize()(values)
    assert normalized.dtype == np.float32 and (normalized == (values - mean) / std).all()


def test_eval_transform_equals_the_reference_written_out():
    image = picture(300, 201)
    resized = image.resize((int(224 * 300 / 201), 224), Image.Resampling.BICUBIC)
    left = int(round((resized.width - 224) / 2.0))
    values = np.asarray(resized)[:, left : left + 224].astype(np.float32) / np.float32(255)
    expected = ((values - np.array(OPENAI_MEAN, np.float32)) / np.array(OPENAI_STD, np.float32)).transpose(2, 0, 1)
    assert (eval_transform(OPENAI)(image) == expected).all()


GOLDEN = {
    "eval, landscape": "25743bb32dd906af",
    "eval, portrait": "829d7fe9709ddeda",
    "eval, smaller than the crop": "e03b977133a7c7e6",
    "squash, bilinear": "8b1d1bb87fd8728c",
    "train": "54744ff1c92c7c6e",
    "affine": "ff07a1ceae2df74a",
    "jitter": "653ef4298da495bd",
}


def golden_values():
    squash = {**OPENAI, "resize_mode": "squash", "interpolation": "bilinear"}
    rng = np.random.default_rng
    return {
        "eval, landscape": eval_transform(OPENAI)(picture(300, 201)),
        "eval, portrait": eval_transform(OPENAI)(picture(201, 300)),
        "eval, smaller than the crop": eval_transform(OPENAI)(picture(31, 17)),
        "squash, bilinear": eval_transform(squash)(picture(300, 201)),
        "train": train_transform(OPENAI)(picture(300, 201), rng(1)),
        "affine": np.asarray(RandomAffine(10, 0.1, (0.9, 1.1))(picture(), rng(2))),
        "jitter": np.asarray(ColorJitter(0.3, 0.3, 0.3, 0.1)(picture(), rng(3))),
    }


@pytest.mark.parametrize("name", GOLDEN)
def test_transform_is_the_recorded_one(name):
    assert digest(golden_values()[name]) == GOLDEN[name]


def test_squash_has_no_crop():
    names = [type(t).__name__ for t in eval_transform({**OPENAI, "resize_mode": "squash"}).transforms]
    assert names == ["ToRGB", "Resize", "ToTensor", "Normalize"]


@pytest.mark.parametrize("size", [(1, 1), (1, 10000), (10000, 1), (3, 2)])
def test_extreme_pictures_come_out_in_the_right_size(size):
    assert eval_transform(OPENAI)(Image.new("RGB", size, (10, 20, 30))).shape == (3, 224, 224)


def test_cutting_an_extreme_picture_keeps_its_centre():
    stripes = np.zeros((1, 10001, 3), np.uint8)
    stripes[0, 5000] = 255
    values = np.asarray(CenterCrop(8)(Resize(8)(Image.fromarray(stripes))))
    assert values[:, 2:6].min() > 128


# ---------------------------------------------------------------------------------------------- ToRGB


def test_to_rgb_takes_pil_pictures_of_any_mode():
    for mode in ("1", "L", "LA", "P", "RGBA", "CMYK", "RGB", "I;16"):
        assert ToRGB()(Image.new(mode, (4, 3))).mode == "RGB"


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1), (5, 4, 3), (5, 4, 4)])
def test_to_rgb_takes_arrays_and_returns_them(shape):
    values = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    converted = ToRGB()(values)
    assert converted.shape == (5, 4, 3)
    assert (
        converted == (values[..., :3] if shape[-1] in (3, 4) and len(shape) == 3 else values.reshape(5, 4, 1))
    ).all()


def test_to_rgb_refuses_other_arrays():
    with pytest.raises(UserError, match=r"float32 \[3, 4, 4\]"):
        ToRGB()(np.zeros((3, 4, 4), np.float32))


def test_to_rgb_works_inside_paddles_compose():
    from paddle.vision.transforms import CenterCrop, Compose, Resize, ToTensor

    preprocess = Compose([ToRGB(), Resize(32, interpolation="bicubic"), CenterCrop(32), ToTensor()])
    assert list(preprocess(Image.new("L", (64, 48), 7)).shape) == [3, 32, 32]


def test_our_transforms_work_inside_paddles_compose():
    from paddle.vision.transforms import Compose as PaddleCompose

    ours = eval_transform(OPENAI)
    image = picture(90, 70)
    assert (PaddleCompose(ours.transforms)(image) == ours(image)).all()


# ---------------------------------------------------------------------------------------------- chance


@pytest.mark.parametrize("transform", RANDOM, ids=lambda transform: type(transform).__name__)
def test_random_transform_depends_on_the_generator_alone(transform):
    first, again = (np.asarray(transform(picture(), np.random.default_rng(5))) for _ in range(2))
    assert (first == again).all()


@pytest.mark.parametrize("transform", RANDOM, ids=lambda transform: type(transform).__name__)
def test_random_transform_varies(transform):
    assert len({digest(np.asarray(transform(picture(), np.random.default_rng(seed)))) for seed in range(12)}) > 1


@pytest.mark.parametrize("transform", RANDOM, ids=lambda transform: type(transform).__name__)
def test_random_transform_draws_for_itself_without_a_generator(transform):
    assert transform(picture()).mode == "RGB"


@pytest.mark.parametrize("transform", RANDOM, ids=lambda transform: type(transform).__name__)
def test_random_transform_leaves_numpys_shared_stream_alone(transform):
    before = np.random.get_state()[1].tolist()
    transform(picture(), np.random.default_rng(0))
    assert np.random.get_state()[1].tolist() == before


def test_compose_hands_one_generator_on():
    class Draw:
        def __call__(self, values, rng=None):
            return [*values, rng.random()]

    drawn = Compose([Draw(), Draw()])([], np.random.default_rng(3))
    assert drawn == np.random.default_rng(3).random(2).tolist()


def test_random_resized_crop_keeps_to_area_and_proportions():
    crop = RandomResizedCrop(8, scale=(0.5, 0.8), ratio=(0.75, 1.25))
    for seed in range(50):
        left, top, width, height = crop._box(200, 160, np.random.default_rng(seed))
        assert 0 <= left and left + width <= 200 and 0 <= top and top + height <= 160
        assert 0.49 <= width * height / 32000 <= 0.81 and 0.74 <= width / height <= 1.26


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1)])
def test_random_resized_crop_falls_back_to_the_centre(size):
    assert RandomResizedCrop(8)(Image.new("RGB", size), np.random.default_rng(0)).size == (8, 8)


def test_random_crop_reaches_every_corner():
    columns = np.tile(np.arange(6, dtype=np.uint8), (6, 1))
    image = Image.fromarray(np.stack([columns, columns.T, columns], axis=-1))
    corners = {tuple(np.asarray(RandomCrop(4)(image, np.random.default_rng(seed)))[0, 0, :2]) for seed in range(200)}
    assert corners == {(x, y) for x in range(3) for y in range(3)}


@pytest.mark.parametrize(("probability", "changed"), [(0.0, False), (1.0, True)])
def test_probability_0_never_and_1_always_flips(probability, changed):
    image = picture()
    flipped = np.asarray(RandomHorizontalFlip(probability)(image, np.random.default_rng(0)))
    assert (flipped == np.asarray(image)[:, :: -1 if changed else 1]).all()


def test_affine_without_amounts_changes_nothing():
    image = picture()
    assert (np.asarray(RandomAffine()(image, np.random.default_rng(0))) == np.asarray(image)).all()


def test_affine_shift_moves_the_picture_by_its_amount():
    class Fixed:
        amounts = iter([0.0, 0.25, 0.0, 1.0])

        def uniform(self, low, high):
            return next(self.amounts) if low != high else low

    dot = np.zeros((8, 8, 3), np.uint8)
    dot[2, 3] = 255
    moved = np.asarray(RandomAffine(0.1, 0.25, (0.9, 1.1))(Image.fromarray(dot), Fixed()))[:, :, 0]
    assert np.argwhere(moved == 255).tolist() == [[2, 5]]


def test_jitter_without_amounts_changes_nothing():
    image = picture()
    assert (np.asarray(ColorJitter()(image, np.random.default_rng(0))) == np.asarray(image)).all()


def test_grayscale_keeps_three_channels():
    values = np.asarray(RandomGrayscale(1.0)(picture(), np.random.default_rng(0)))
    assert values.shape[2] == 3 and (values == values[:, :, :1]).all()


# ---------------------------------------------------------------------------------------------- configs


def test_build_transform_applies_the_nodes_in_order():
    nodes = [{"name": "ToRGB"}, {"name": "Resize", "size": 16, "mode": "squash"}, {"name": "ToTensor"}]
    assert build_transform(nodes)(picture()).shape == (3, 16, 16)


def test_build_transform_without_to_tensor_says_what_is_missing():
    with pytest.raises(UserError, match="ToTensor"):
        build_transform([{"name": "Resize", "size": 16}])


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"name": "Resize", "size": 0}, "size is 0"),
        ({"name": "Resize", "size": 8, "interpolation": "cubic"}, "cubic"),
        ({"name": "Resize", "size": 8, "mode": "longest"}, "longest"),
        ({"name": "RandomResizedCrop", "size": 8, "scale": (0.5, 1.5)}, "scale"),
        ({"name": "RandomHorizontalFlip", "probability": 2}, "probability"),
        ({"name": "ColorJitter", "hue": 0.7}, "hue"),
        ({"name": "RandomAffine", "degrees": -1}, "degrees"),
        ({"name": "Normalize", "std": (0, 1, 1)}, "std"),
        ({"name": "Resise", "size": 8}, "Did you mean 'Resize'"),
    ],
)
def test_wrong_value_is_named(node, message):
    with pytest.raises(UserError, match=message):
        TRANSFORMS.build(node)


def test_normalize_before_to_tensor_is_named():
    with pytest.raises(UserError, match="put ToTensor before it"):
        Normalize()(picture())


def test_every_config_key_is_annotated_and_documented():
    for name in TRANSFORMS.names():
        entry = TRANSFORMS.get(name)
        parameters = [] if entry.__init__ is object.__init__ else list(inspect.signature(entry.__init__).parameters)[1:]
        hints = typing.get_type_hints(entry.__init__) if parameters else {}
        for parameter in parameters:
            assert parameter in hints and f"    {parameter}:" in inspect.getdoc(entry), (name, parameter)


def test_interpolations_are_pillows():
    assert set(typing.get_args(transforms.Interpolation)) == set(transforms._FILTERS)
