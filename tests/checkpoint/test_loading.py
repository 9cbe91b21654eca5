"""Strict loading: nothing is assigned unless everything fits, and the message says what does not."""

import sys
from pathlib import Path

import numpy as np
import paddle
import pytest

from passl.checkpoint import layer_arrays, load_into, read_weights, weights_hash, write_weights
from passl.checkpoint.dtypes import round_to_bfloat16, widen_bfloat16
from passl.utils.errors import UserError

sys.path.insert(0, str(Path(__file__).parent))

from torch_files import weights_archive


class Model(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        self.fc = paddle.nn.Linear(2, 3)
        self.norm = paddle.nn.BatchNorm1D(3)
        self.scale = self.create_parameter([])
        self.register_buffer("steps", paddle.to_tensor([1], dtype="int64"))


def zeros(layer):
    return {name: np.zeros_like(array) for name, array in layer_arrays(layer).items()}


@pytest.fixture
def model():
    return Model()


def refusal(model, arrays, **options):
    before = weights_hash(layer_arrays(model))
    with pytest.raises(UserError) as raised:
        load_into(model, arrays, **options)
    assert weights_hash(layer_arrays(model)) == before
    return str(raised.value)


@pytest.mark.parametrize("name", ["a.safetensors", "a.pdparams", "a.pt"])
def test_mapped_arrays_load_and_what_is_loaded_can_be_trained(tmp_path, name):
    layer, optimizer_rate = paddle.nn.Linear(40, 50), 0.5
    arrays = {"weight": np.arange(2000, dtype="float32").reshape(50, 40) / 2000, "bias": np.ones(50, "float32")}
    if name.endswith(".pt"):
        (tmp_path / name).write_bytes(weights_archive(arrays))
    else:
        write_weights(tmp_path / name, arrays)
    found = read_weights(tmp_path / name)
    assert not found["weight"].flags.writeable
    load_into(layer, {**found, "weight": found["weight"].T})
    np.testing.assert_array_equal(layer.weight.numpy(), arrays["weight"].T)
    layer(paddle.ones([1, 40])).sum().backward()
    paddle.optimizer.SGD(optimizer_rate, parameters=layer.parameters()).step()
    np.testing.assert_allclose(layer.weight.numpy(), arrays["weight"].T - optimizer_rate, atol=1e-6)
    np.testing.assert_array_equal(found["weight"], arrays["weight"])


def test_arrays_of_a_layer_load_back_bit_for_bit(model):
    other = Model()
    report = load_into(other, layer_arrays(model), source="a.safetensors")
    assert weights_hash(layer_arrays(other)) == weights_hash(layer_arrays(model))
    assert report.is_complete and set(report.loaded) == set(layer_arrays(model))
    assert report.table() == "a.safetensors: 8 of 8 arrays of the model loaded"


def test_arrays_of_a_layer_are_copies(model):
    arrays = layer_arrays(model)
    arrays["fc.weight"][:] = 7
    assert not np.any(model.fc.weight.numpy() == 7)


def test_tensors_load_like_arrays(model):
    other = Model()
    load_into(other, dict(model.state_dict()))
    assert weights_hash(layer_arrays(other)) == weights_hash(layer_arrays(model))


def test_missing_unexpected_and_wrongly_shaped_names_are_listed_and_nothing_changes(model):
    arrays = zeros(model)
    del arrays["fc.bias"]
    arrays["fc.weight"] = np.zeros((3, 2), "float32")
    arrays["head.weight"] = np.zeros((5,), "float32")
    message = refusal(model, arrays, source="other.pdparams")
    assert "other.pdparams does not fit the model" in message
    assert "fc.weight: expected [2, 3] float32, found [3, 2] float32" in message
    assert "fc.bias: expected [3] float32" in message and "head.weight: [5] float32" in message
    assert "--partial" in message


def test_long_lists_show_ten_and_count_the_rest(model):
    arrays = {**zeros(model), **{f"extra.{n}": np.zeros(1, "float32") for n in range(13)}}
    message = refusal(model, arrays)
    assert "not in the model (13):" in message and "and 3 more" in message
    assert message.count("extra.") == 10


def test_prefix_that_all_names_carry_is_pointed_out(model):
    message = refusal(model, {f"model.{name}": array for name, array in zeros(model).items()})
    assert "Its names carry the prefix 'model.'" in message


@pytest.mark.parametrize("shape", [(), (1,)])
def test_scalars_of_both_shapes_load(shape):
    layer = paddle.nn.Layer()
    layer.a, layer.b = layer.create_parameter([]), layer.create_parameter([1])
    load_into(layer, {"a": np.full(shape, 2.5, "float32"), "b": np.full(shape, 3.5, "float32")})
    assert (layer.a.item(), layer.b.item()) == (2.5, 3.5)
    assert (list(layer.a.shape), list(layer.b.shape)) == ([], [1])


@pytest.mark.parametrize("source", ["float16", "float64"])
def test_floating_numbers_are_cast_to_the_parameter(model, source):
    arrays = {name: array.astype(source) if array.dtype.kind == "f" else array for name, array in zeros(model).items()}
    arrays["fc.bias"] = np.array([0.5, -2.0, 3.0], source)
    load_into(model, arrays)
    assert model.fc.bias.dtype == paddle.float32
    assert model.fc.bias.tolist() == [0.5, -2.0, 3.0]


def test_bfloat16_parameter_takes_the_nearest_value_and_gives_it_back_as_float32():
    layer = paddle.nn.Layer()
    layer.register_buffer("a", paddle.zeros([3]).astype("bfloat16"))
    load_into(layer, {"a": np.array([1.0, 1.00390625, -3.14159], "float32")})
    found = layer_arrays(layer)["a"]
    assert found.dtype == np.float32
    assert found.tolist() == [1.0, 1.0, -3.140625]


def test_bfloat16_rounding_takes_the_nearest_and_of_two_equally_near_the_even_one():
    values = np.random.default_rng(0).normal(size=10_000).astype("float32")
    values[:4] = 1 + 2.0**-8, 1 + 3 * 2.0**-8, -1 - 2.0**-8, 0.0  # three of them lie in the middle
    below = (values.view("uint32") >> 16).astype("uint16")
    near, far = (widen_bfloat16(below + step).astype("float64") for step in (np.uint16(0), np.uint16(1)))
    to_near, to_far = np.abs(values - near), np.abs(values - far)
    expected = np.where((to_far < to_near) | ((to_far == to_near) & (below % 2 == 1)), far, near)
    np.testing.assert_array_equal(widen_bfloat16(round_to_bfloat16(values)), expected)


def test_bfloat16_rounding_keeps_infinities_and_what_is_no_number():
    values = np.array([np.inf, -np.inf, np.nan], "float32")
    np.testing.assert_array_equal(widen_bfloat16(round_to_bfloat16(values)), values)


def test_every_bfloat16_survives_widening_and_rounding():
    bits = np.arange(1 << 16, dtype="uint16")
    finite = ~np.isnan(widen_bfloat16(bits))
    np.testing.assert_array_equal(round_to_bfloat16(widen_bfloat16(bits))[finite], bits[finite])


def test_floating_number_for_a_whole_one_is_refused_and_the_reverse(model):
    arrays = {**zeros(model), "steps": np.array([1.0], "float32"), "fc.bias": np.array([1, 2, 3])}
    message = refusal(model, arrays)
    assert "steps: expected [1] int64, found [1] float32" in message
    assert "fc.bias: expected [3] float32, found [3] int64" in message


def test_whole_numbers_of_another_width_load_if_they_fit():
    layer = paddle.nn.Layer()
    layer.register_buffer("a", paddle.zeros([1], dtype="int32"))
    load_into(layer, {"a": np.array([70000], "int64")})
    assert layer.a.tolist() == [70000]
    assert "expected [1] int32, found [1] int64" in refusal(layer, {"a": np.array([1 << 40], "int64")})


def test_number_too_large_for_the_parameter_is_refused():
    layer = paddle.nn.Layer()
    layer.register_buffer("a", paddle.zeros([1], dtype="float16"))
    assert "expected [1] float16" in refusal(layer, {"a": np.array([1e6], "float32")})


def test_partial_loads_what_fits_and_shows_the_rest_as_a_table(model):
    arrays = zeros(model)
    arrays["fc.bias"] = np.array([4.0, 5.0, 6.0], "float32")
    arrays["fc.weight"] = np.zeros((3, 2), "float32")
    arrays["head.weight"] = np.zeros((5,), "float32")
    del arrays["scale"]
    kept = model.fc.weight.numpy()
    report = load_into(model, arrays, partial=True, source="other.pdparams")
    assert model.fc.bias.tolist() == [4.0, 5.0, 6.0]
    np.testing.assert_array_equal(model.fc.weight.numpy(), kept)
    assert not report.is_complete
    rows = [line.split() for line in report.table().splitlines()]
    assert rows[0] == "other.pdparams: 6 of 8 arrays of the model loaded".split()
    assert rows[1] == "name in the model in the source so it is".split()
    assert rows[2] == "fc.weight [2, 3] float32 [3, 2] float32 kept as it was".split()
    assert rows[3] == "scale [] float32 - kept as it was".split()
    assert rows[4] == "head.weight - [5] float32 not used".split()


def test_partial_with_no_name_in_common_is_an_error(model):
    message = refusal(model, {"other": np.zeros(1, "float32")}, partial=True, source="other.pdparams")
    assert "no array of other.pdparams fits the model" in message


def test_value_that_is_no_array_is_refused(model):
    assert "'fc.bias' is of type str" in refusal(model, {**zeros(model), "fc.bias": "x"})
    assert "'epoch' is of type int" in refusal(model, {**zeros(model), "epoch": 3})
