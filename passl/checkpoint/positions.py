"""Tables of learned positions for another image size or context length.

A model that sees 336 pixels instead of 224 has more squares, and so needs more positions than its weights hold. The
table is resampled as a picture is: the image tower's by cubic convolution (Keys 1981, a = -1/2) whose kernel is widened
when the grid shrinks, so that nothing is skipped; the text tower's along its one axis, linearly. This is what open_clip
does (`resize_pos_embed`, `resize_text_pos_embed`), and the numbers are those of PyTorch's `interpolate` with
`antialias=True` for the first and without for the second.
"""

from __future__ import annotations

import math
from typing import Dict, List, Mapping, Tuple

import numpy as np

from passl.utils.errors import UserError

_SQUARES = ("visual.positional_embedding", "visual.attnpool.positional_embedding")
_TOKENS = "text.positional_embedding"
_BERT_MARK = "text.token_type_embedding"


def resize_positions(
    arrays: Mapping[str, np.ndarray], shapes: Mapping[str, Tuple[int, ...]]
) -> Tuple[Dict[str, np.ndarray], List[str]]:
    """`arrays` with their tables of positions resampled to the lengths that `shapes` has for them.

    Args:
        arrays: weights by name, under our names.
        shapes: the shapes that the model has.

    Returns:
        the arrays, and a line for each table that was resampled: "visual.positional_embedding: 7 x 7 to 12 x 12".

    Raises:
        UserError: a table that is not of squares, or of another width.
    """
    resized, lines = dict(arrays), []
    for name in (*_SQUARES, _TOKENS):
        if name not in arrays or name not in shapes or tuple(arrays[name].shape) == tuple(shapes[name]):
            continue
        table, (length, width) = arrays[name], shapes[name]
        if table.ndim != 2 or table.shape[1] != width:
            raise UserError(
                f"{name} has the shape {list(table.shape)} and the model [{length}, {width}]: only the number of "
                "positions can change, not their width. The weights belong to another model"
            )
        if name == _TOKENS and _BERT_MARK in arrays:
            raise UserError(
                f"{name} has {len(table)} rows and the model {length}: the positions of a BERT or RoBERTa are not resampled, "
                "some of their rows stand for padding. Keep num_positions as the weights have it; shorter texts are taken"
            )
        if name == _TOKENS:
            matrix, line = _linear(len(table), length), f"{len(table)} to {length} tokens"
            resized[name] = (matrix @ table.astype(np.float64)).astype(table.dtype)
        else:
            resized[name], line = _resize_squares(name, table, length)
        lines.append(f"{name}: {line}")
    return resized, lines


def _resize_squares(name: str, table: np.ndarray, length: int) -> Tuple[np.ndarray, str]:
    """The table with `length` rows; a row before the squares (class token, or the mean of a ResNet's map) is kept."""
    old, new = (_side(name, rows) for rows in (len(table), length))
    before = len(table) - old**2
    if before != length - new**2:
        raise UserError(f"{name}: one of {len(table)} and {length} positions has a class token and the other has not")
    matrix = _cubic(old, new)
    grid = table[before:].astype(np.float64).reshape(old, old, -1)  # [height, width, D]
    grid = np.einsum("yi,xj,ijd->yxd", matrix, matrix, grid, optimize=True)
    rows = grid.reshape(new**2, -1).astype(table.dtype)
    return np.concatenate([table[:before], rows]), f"{old} x {old} to {new} x {new} squares"


def _side(name: str, rows: int) -> int:
    for squares in (rows - 1, rows):
        if squares > 0 and math.isqrt(squares) ** 2 == squares:
            return math.isqrt(squares)
    raise UserError(f"{name} has {rows} positions, which is no square grid, with or without a class token")


def _cubic(old: int, new: int) -> np.ndarray:
    """Weights [new, old] of cubic convolution between centres of cells; wider by `scale` when the grid shrinks."""
    scale = old / new
    stretch = max(scale, 1.0)
    centres = scale * (np.arange(new) + 0.5)  # [new]
    distances = np.abs(np.arange(old)[None, :] + 0.5 - centres[:, None]) / stretch  # [new, old]
    near = 1.5 * distances**3 - 2.5 * distances**2 + 1
    far = -0.5 * distances**3 + 2.5 * distances**2 - 4 * distances + 2
    weights = np.where(distances < 1, near, np.where(distances < 2, far, 0.0))
    return weights / weights.sum(axis=1, keepdims=True)


def _linear(old: int, new: int) -> np.ndarray:
    """Weights [new, old] of linear interpolation between centres of cells."""
    places = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)  # [new]
    return np.clip(1 - np.abs(np.arange(old)[None, :] - places[:, None]), 0, None)
