from __future__ import annotations

import numpy as np
import paddle
import pytest

from passl.modeling.backbones import ModifiedResNet, TextTransformer, VisionTransformer
from passl.utils.errors import UserError
from passl.utils.registry import BACKBONES


@pytest.fixture
def vision() -> VisionTransformer:
    return VisionTransformer(8, image_size=16, patch_size=8, width=16, num_layers=2, num_heads=2)


@pytest.fixture
def resnet() -> ModifiedResNet:
    return ModifiedResNet(8, image_size=32, layers=[1, 1, 1, 1], width=4, num_heads=2)


@pytest.fixture
def text() -> TextTransformer:
    return TextTransformer(8, context_length=10, vocab_size=50, width=16, num_layers=2, num_heads=2)


def rows(*ids) -> paddle.Tensor:
    return paddle.to_tensor(np.array(ids, dtype="int64"))


def test_towers_are_registered_by_name():
    assert BACKBONES.names() == ["BertEncoder", "ModifiedResNet", "TextTransformer", "VisionTransformer"]


# ---------------------------------------------------------------------------------------------------- text


def test_text_after_the_end_mark_has_no_influence(text):
    found = text(rows([1, 7, 49, 0, 0, 0], [1, 7, 49, 5, 9, 48]))
    np.testing.assert_array_equal(found[0].numpy(), found[1].numpy())


def test_text_before_the_end_mark_has_influence(text):
    found = text(rows([1, 7, 49, 0], [1, 8, 49, 0]))
    assert float((found[0] - found[1]).abs().max()) > 1e-4


def test_text_is_read_at_the_first_of_several_end_marks(text):
    found = text(rows([1, 49, 0, 0, 0], [1, 49, 7, 49, 0]))
    np.testing.assert_array_equal(found[0].numpy(), found[1].numpy())


def test_shorter_rows_give_the_features_of_padded_ones(text):
    short, padded = text(rows([1, 7, 8, 49])), text(rows([1, 7, 8, 49, 0, 0, 0, 0, 0, 0]))
    np.testing.assert_allclose(short.numpy(), padded.numpy(), atol=1e-6)


def test_gradient_reaches_only_tokens_up_to_the_end_mark(text):
    text(rows([1, 7, 49, 8, 9])).sum().backward()
    largest = np.abs(text.token_embedding.weight.grad.numpy()).max(axis=1)
    # Paddle's softmax on the CPU never goes below exp(-64), about 1e-28, where the mask says -inf.
    touched = np.flatnonzero(largest > 1e-20)
    assert touched.tolist() == [1, 7, 49]


def test_text_that_is_too_long_is_refused(text):
    with pytest.raises(UserError, match="texts of 11 tokens are too long .* context length is 10"):
        text(rows([1] * 11))


@pytest.mark.parametrize("bad", [50, -1])
def test_ids_outside_the_vocabulary_are_refused(text, bad):
    with pytest.raises(UserError, match=f"between 0 and 49 .* there is a {bad}"):
        text(rows([1, bad, 49]))


def test_text_of_the_wrong_rank_is_refused(text):
    with pytest.raises(UserError, match=r"\[B, L\], not \[3\]"):
        text(paddle.to_tensor([1, 2, 49]))


def test_floating_ids_are_refused(text):
    with pytest.raises(UserError, match="ids are int64, not float32"):
        text(paddle.ones([1, 4]))


def test_int32_ids_are_taken(text):
    found = text(rows([1, 7, 49]).astype("int32"))
    np.testing.assert_array_equal(found.numpy(), text(rows([1, 7, 49])).numpy())


# ---------------------------------------------------------------------------------------------------- images


@pytest.mark.parametrize("shape", [[2, 3, 24, 24], [2, 1, 16, 16], [3, 16, 16], [2, 16, 16, 3]])
def test_images_of_another_shape_are_refused(vision, shape):
    with pytest.raises(UserError, match=r"images are \[B, 3, 16, 16\] .*, not"):
        vision(paddle.zeros(shape))


def test_integer_images_are_refused(vision):
    with pytest.raises(UserError, match="floating-point, .*, not uint8"):
        vision(paddle.zeros([1, 3, 16, 16], dtype="uint8"))


def test_resnet_refuses_images_of_another_size(resnet):
    with pytest.raises(UserError, match=r"\[B, 3, 32, 32\]"):
        resnet(paddle.zeros([1, 3, 64, 64]))


def test_vision_transformer_gives_each_image_the_same_features_in_any_batch(vision):
    images = paddle.randn([4, 3, 16, 16])
    together, alone = vision(images), paddle.concat([vision(image.unsqueeze(0)) for image in images])
    np.testing.assert_allclose(together.numpy(), alone.numpy(), atol=1e-6)


def test_transformers_say_that_rows_are_independent(vision, text):
    assert vision.row_independent and text.row_independent


def test_resnet_is_row_independent_only_while_its_statistics_are_frozen(resnet):
    images = paddle.randn([4, 3, 32, 32])
    for layer in resnet.sublayers():
        if isinstance(layer, paddle.nn.BatchNorm2D):
            layer.weight.set_value(paddle.ones(layer.weight.shape))
    resnet.train()
    assert not resnet.row_independent
    assert float((resnet(images)[:2] - resnet(images[:2])).abs().max()) > 1e-4
    resnet.eval()
    assert resnet.row_independent
    np.testing.assert_allclose(resnet(images)[:2].numpy(), resnet(images[:2]).numpy(), atol=1e-5)


def test_new_residual_blocks_pass_their_input_on(resnet):
    blocks = [block for stage in (resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4) for block in stage]
    assert all(float(block.bn3.weight.abs().max()) == 0 for block in blocks)
    assert float(resnet.bn3.weight.min()) == 1  # the stem's own third norm is none of them


def test_pixels_that_fill_no_square_are_not_seen():
    sizes = {"patch_size": 8, "width": 16, "num_layers": 1, "num_heads": 2}
    tower, exact = (VisionTransformer(8, image_size=size, **sizes) for size in (19, 16))
    exact.set_state_dict(tower.state_dict())
    image = paddle.rand([1, 3, 19, 19])
    np.testing.assert_array_equal(tower(image).numpy(), exact(image[:, :, :16, :16]).numpy())


@pytest.mark.parametrize(
    "change, message",
    [
        ({"patch_size": 17}, "16 pixels cannot be cut into squares of 17"),
        ({"num_heads": 3}, "width 16 cannot be split into 3 heads"),
        ({"proj": False}, "as wide as the tower, 16; 8 was asked for"),
        ({"activation": "relu"}, "no activation named 'relu'"),
    ],
)
def test_vision_transformer_refuses_impossible_sizes(change, message):
    sizes = {"image_size": 16, "patch_size": 8, "width": 16, "num_layers": 1, "num_heads": 2}
    with pytest.raises(UserError, match=message):
        VisionTransformer(8, **{**sizes, **change})


@pytest.mark.parametrize(
    "change, message",
    [
        ({"image_size": 48}, "multiple of 32, not 48"),
        ({"layers": [1, 1, 1]}, "four stages of at least one block"),
        ({"layers": [1, 0, 1, 1]}, "four stages of at least one block"),
        ({"width": 5}, "width is even .* not 5"),
        ({"num_heads": 7}, "width 128 cannot be split into 7 heads"),
    ],
)
def test_resnet_refuses_impossible_sizes(change, message):
    sizes = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 4, "num_heads": 2}
    with pytest.raises(UserError, match=message):
        ModifiedResNet(8, **{**sizes, **change})
