"""What towers accept: sizes, images, token ids.

Of images and ids only shapes and dtypes are looked at, and ids where they can be read without waiting for a device;
nothing while a static graph is made, where sizes may be unknown.
"""

from __future__ import annotations

import paddle

from passl.utils.errors import UserError

_FLOATS = (paddle.float16, paddle.bfloat16, paddle.float32, paddle.float64)
_INTEGERS = (paddle.int32, paddle.int64)


def check_sizes(**sizes: int) -> None:
    """Raises `UserError` unless every size is at least 1."""
    for name, value in sizes.items():
        if value < 1:
            raise UserError(f"{name} is {value}; it is at least 1")


@paddle.jit.not_to_static
def check_image(image: paddle.Tensor, size: int) -> None:
    """Raises `UserError` unless `image` is floating-point [B, 3, size, size]."""
    if not paddle.in_dynamic_mode():
        return
    if len(image.shape) != 4 or list(image.shape[1:]) != [3, size, size]:
        raise UserError(
            f"images are [B, 3, {size}, {size}] for this model, not {list(image.shape)}; "
            "the transform of `passl.create_model_and_transforms` makes them so: "
            "`paddle.to_tensor(numpy.stack([transform(picture), ...]))`"
        )
    if image.dtype not in _FLOATS:
        raise UserError(
            f"images are floating-point, normalised by the model's mean and deviation, not {_name(image.dtype)}"
        )


@paddle.jit.not_to_static
def check_ids(ids: paddle.Tensor, context_length: int, vocab_size: int) -> None:
    """Raises `UserError` unless `ids` is integer [B, L], L at most `context_length`, and in the vocabulary.

    The last is only checked on the CPU: reading ids back from another device would stall it.
    """
    if not paddle.in_dynamic_mode():
        return
    if len(ids.shape) != 2:
        raise UserError(
            f"texts are rows of token ids [B, L], not {list(ids.shape)}; `passl.get_tokenizer(name)(texts)` makes them"
        )
    if ids.shape[1] > context_length:
        raise UserError(
            f"texts of {ids.shape[1]} tokens are too long for this model, whose context length is {context_length}; "
            "the tokenizer of `passl.get_tokenizer` cuts them"
        )
    if ids.dtype not in _INTEGERS:
        raise UserError(f"token ids are int64, not {_name(ids.dtype)}; convert them with .astype('int64')")
    if ids.place.is_cpu_place() and ids.size:
        lowest, highest = int(ids.min()), int(ids.max())
        if lowest < 0 or highest >= vocab_size:
            raise UserError(
                f"token ids lie between 0 and {vocab_size - 1} for this model, and there is a "
                f"{lowest if lowest < 0 else highest}; were the texts made with another model's tokenizer?"
            )


def _name(dtype: paddle.dtype) -> str:
    return str(dtype).rpartition(".")[2]
