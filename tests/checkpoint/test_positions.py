from __future__ import annotations

import numpy as np
import pytest

from passl.checkpoint.positions import resize_positions
from passl.utils.errors import UserError

VISUAL = "visual.positional_embedding"
TEXT = "text.positional_embedding"
RANDOM = np.random.default_rng(0)


def resized(name, table, length):
    arrays, _ = resize_positions({name: table}, {name: (length, table.shape[1])})
    return arrays[name]


def test_table_of_the_right_length_is_the_same_object():
    table = RANDOM.normal(size=(50, 4)).astype("float32")
    assert resized(VISUAL, table, 50) is table


def test_class_token_keeps_its_position():
    table = RANDOM.normal(size=(50, 4)).astype("float32")
    assert np.array_equal(resized(VISUAL, table, 145)[0], table[0])


@pytest.mark.parametrize(("rows", "length"), [(50, 145), (49, 144), (145, 50), (16, 9)])
def test_constant_positions_stay_constant(rows, length):
    table = np.full((rows, 2), 3.25, dtype="float32")
    assert np.allclose(resized(VISUAL, table, length), 3.25, atol=1e-6)


def test_gradient_over_the_grid_stays_one_in_the_middle():
    column = np.tile(np.arange(8.0), (8, 1)).reshape(64, 1).astype("float32")
    larger = resized(VISUAL, column, 256).reshape(16, 16)
    assert np.allclose(np.diff(larger[8, 5:11]), 0.5, atol=1e-5)


def test_text_positions_are_interpolated_between_neighbours():
    table = np.arange(4.0, dtype="float32")[:, None]
    assert resized(TEXT, table, 8)[:, 0].tolist() == [0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0]


def test_line_says_what_was_resampled():
    _, lines = resize_positions({VISUAL: np.zeros((50, 4), "float32")}, {VISUAL: (145, 4)})
    assert lines == ["visual.positional_embedding: 7 x 7 to 12 x 12 squares"]


def test_other_width_is_refused():
    with pytest.raises(UserError, match=r"\[50, 4\].*not their width"):
        resize_positions({VISUAL: np.zeros((50, 4), "float32")}, {VISUAL: (145, 8)})


def test_missing_class_token_is_refused():
    with pytest.raises(UserError, match="has a class token and the other has not"):
        resized(VISUAL, np.zeros((50, 4), "float32"), 144)


def test_positions_of_a_roberta_are_refused():
    arrays = {TEXT: np.zeros((514, 4), "float32"), "text.token_type_embedding": np.zeros((1, 4), "float32")}
    with pytest.raises(UserError, match="514 rows and the model 258.*not resampled"):
        resize_positions(arrays, {TEXT: (258, 4)})


def test_table_without_a_grid_is_refused():
    with pytest.raises(UserError, match="51 positions, which is no square grid"):
        resized(VISUAL, np.zeros((51, 4), "float32"), 50)


@pytest.mark.peers
@pytest.mark.parametrize(("old", "new"), [(7, 12), (12, 7), (16, 24), (24, 16), (14, 1)])
def test_squares_equal_the_reference(old, new):
    import torch

    table = RANDOM.normal(size=(1 + old**2, 6)).astype("float32")
    grid = torch.from_numpy(table[1:]).reshape(1, old, old, 6).permute(0, 3, 1, 2)
    wanted = torch.nn.functional.interpolate(grid, size=(new, new), mode="bicubic", antialias=True, align_corners=False)
    wanted = wanted.permute(0, 2, 3, 1).reshape(new**2, 6).numpy()
    assert np.abs(resized(VISUAL, table, 1 + new**2)[1:] - wanted).max() < 1e-5


@pytest.mark.peers
@pytest.mark.parametrize(("old", "new"), [(77, 256), (77, 32), (64, 16)])
def test_tokens_equal_the_reference(old, new):
    import torch

    table = RANDOM.normal(size=(old, 6)).astype("float32")
    columns = torch.from_numpy(table.T[None])
    wanted = torch.nn.functional.interpolate(columns, size=new, mode="linear", align_corners=False)[0].numpy().T
    assert np.abs(resized(TEXT, table, new) - wanted).max() < 1e-6
