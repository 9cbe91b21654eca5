"""Our own layout and PASSL's of 2021: recognised by their names, converted by the rules, strictly."""

import logging

import numpy as np
import paddle
import pytest

from passl.checkpoint import FAMILIES, from_family, implied_activation, read_weights, to_family, weights_hash
from passl.utils.errors import UserError

D, W, E, N, L = 8, 6, 4, 5, 7  # widths of the image and the text tower, embedding, image tokens, text tokens
rng = np.random.default_rng(0)


def random_arrays(shapes):
    return {name: rng.normal(size=shape).astype("float32") for name, shape in shapes.items()}


def passl_block(prefix, width):
    return {
        **{f"{prefix}.norm{n}.{p}": (width,) for n in (1, 2) for p in ("weight", "bias")},
        f"{prefix}.attn.qkv.weight": (width, 3 * width),
        f"{prefix}.attn.qkv.bias": (3 * width,),
        f"{prefix}.attn.proj.weight": (width, width),
        f"{prefix}.attn.proj.bias": (width,),
        f"{prefix}.mlp.fc1.weight": (width, 4 * width),
        f"{prefix}.mlp.fc1.bias": (4 * width,),
        f"{prefix}.mlp.fc2.weight": (4 * width, width),
        f"{prefix}.mlp.fc2.bias": (width,),
    }


def norm(prefix, width, statistics=False):
    names = ("weight", "bias", "_mean", "_variance") if statistics else ("weight", "bias")
    return {f"{prefix}.{name}": (width,) for name in names}


PASSL_TEXT = {
    "logit_scale": (1,),
    "token_embedding.weight": (20, W),
    "positional_embedding": (L, W),
    **passl_block("transformer.blocks.0", W),
    **passl_block("transformer.blocks.11", W),
    **norm("ln_final", W),
    "text_projection": (W, E),
}
PASSL_VIT = {
    "visual.patch_embed.proj.weight": (D, 3, 4, 4),
    "visual.class_embedding": (1, 1, D),
    "visual.positional_embedding": (1, N, D),
    **norm("visual.norm_pre", D),
    **passl_block("visual.blocks.0", D),
    **norm("visual.norm_post", D),
    "visual.proj": (D, E),
    **PASSL_TEXT,
}
PASSL_RESNET = {
    "visual.conv1.weight": (2, 3, 3, 3),
    **norm("visual.bn1", 2, statistics=True),
    "visual.layer1.0.conv3.weight": (16, 4, 1, 1),
    **norm("visual.layer1.0.bn3", 16, statistics=True),
    "visual.layer1.0.downsample.0.weight": (16, 4, 1, 1),
    **norm("visual.layer1.0.downsample.1", 16, statistics=True),
    **{f"visual.attnpool.{part}_proj.weight": (D, D) for part in "qkv"},
    **{f"visual.attnpool.{part}_proj.bias": (D,) for part in "qkv"},
    "visual.attnpool.out_proj.weight": (D, E),
    "visual.attnpool.out_proj.bias": (E,),
    **PASSL_TEXT,
}
OUR_BLOCK_NAMES = {
    *(f"norm{n}.{p}" for n in (1, 2) for p in ("weight", "bias")),
    *(f"attn.{part}_proj.{p}" for part in ("q", "k", "v", "out") for p in ("weight", "bias")),
    *(f"mlp.fc{n}.{p}" for n in (1, 2) for p in ("weight", "bias")),
}
OUR_TEXT_NAMES = {
    "logit_scale",
    "text.token_embedding.weight",
    "text.positional_embedding",
    *(f"text.blocks.{n}.{name}" for n in (0, 11) for name in OUR_BLOCK_NAMES),
    "text.norm_final.weight",
    "text.norm_final.bias",
    "text.projection",
}


def test_passl_vit_gets_our_names_and_shapes():
    found, family, is_certain = from_family(random_arrays(PASSL_VIT))[:3]
    assert (family, is_certain) == ("passl-2021", True)
    vit = {"patch_embed.proj.weight", "class_embedding", "positional_embedding", "proj"}
    vit |= {f"{name}.{p}" for name in ("norm_pre", "norm_post") for p in ("weight", "bias")}
    vit |= {f"blocks.0.{name}" for name in OUR_BLOCK_NAMES}
    assert set(found) == {f"visual.{name}" for name in vit} | OUR_TEXT_NAMES
    assert found["logit_scale"].shape == ()
    assert found["visual.class_embedding"].shape == (D,)
    assert found["visual.positional_embedding"].shape == (N, D)
    assert found["text.positional_embedding"].shape == (L, W)


def test_passl_fused_projection_splits_into_query_key_value_in_this_order():
    arrays = random_arrays(PASSL_VIT)
    found = from_family(arrays).arrays
    for place, part in enumerate("qkv"):
        columns = slice(place * D, (place + 1) * D)
        weight, bias = (arrays[f"visual.blocks.0.attn.qkv.{p}"] for p in ("weight", "bias"))
        np.testing.assert_array_equal(found[f"visual.blocks.0.attn.{part}_proj.weight"], weight[:, columns])
        np.testing.assert_array_equal(found[f"visual.blocks.0.attn.{part}_proj.bias"], bias[columns])


def test_passl_resnet_gets_our_names(caplog):
    with caplog.at_level(logging.WARNING, logger="passl"):
        found, family, _ = from_family(random_arrays(PASSL_RESNET))[:3]
    assert family == "passl-2021"
    visual = {name for name in found if name.startswith("visual.")}
    statistics = ("weight", "bias", "_mean", "_variance")
    assert visual == {
        "visual.conv1.weight",
        *(f"visual.bn1.{s}" for s in statistics),
        "visual.layer1.0.conv3.weight",
        *(f"visual.layer1.0.bn3.{s}" for s in statistics),
        "visual.layer1.0.downsample.conv.weight",
        *(f"visual.layer1.0.downsample.bn.{s}" for s in statistics),
        *(f"visual.attnpool.{part}_proj.{p}" for part in "qkvc" for p in ("weight", "bias")),
    }
    assert "never has visual.attnpool.positional_embedding, so a strict load will miss" in caplog.text


@pytest.mark.parametrize("prefix", ["", "model."])
def test_way_back_is_the_inverse(prefix):
    arrays = random_arrays({prefix + name: shape for name, shape in PASSL_VIT.items()})
    assert weights_hash(to_family(from_family(arrays).arrays, "passl-2021", prefix=prefix)) == weights_hash(arrays)


def test_names_of_passl_files_lie_below_model():
    written = to_family(from_family(random_arrays(PASSL_VIT)).arrays, "passl-2021")
    assert {*written} == {f"model.{name}" for name in PASSL_VIT}


def test_nothing_is_copied():
    arrays = random_arrays(PASSL_VIT)
    for name, array in from_family(arrays).arrays.items():
        assert any(np.shares_memory(array, source) for source in arrays.values()), name


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("prefix", ["", "model."])
def test_passl_file_reads_with_and_without_prefix_and_outer_dict(tmp_path, prefix, nested):
    arrays = random_arrays(PASSL_VIT)
    tensors = {prefix + name: paddle.to_tensor(array) for name, array in arrays.items()}
    paddle.save({"state_dict": tensors, "epoch": 1} if nested else tensors, str(tmp_path / "a.pdparams"))
    found, family, _ = from_family(read_weights(tmp_path / "a.pdparams"))[:3]
    assert family == "passl-2021" and weights_hash(found) == weights_hash(from_family(arrays).arrays)


def test_tensors_in_an_outer_dict_convert_too():
    arrays = random_arrays(PASSL_VIT)
    tensors = {f"model.{name}": paddle.to_tensor(array) for name, array in arrays.items()}
    found = from_family({"state_dict": tensors, "epoch": 1}).arrays
    assert weights_hash(found) == weights_hash(from_family(arrays).arrays)


@pytest.mark.parametrize("prefix", ["", "model."])
def test_our_own_names_stay(prefix):
    ours = from_family(random_arrays(PASSL_VIT)).arrays
    found, family, is_certain = from_family({prefix + name: array for name, array in ours.items()})[:3]
    assert (family, is_certain) == ("passl", True) and weights_hash(found) == weights_hash(ours)
    assert to_family(ours, "passl") == ours


def test_passl_named_takes_both_layouts_and_says_which():
    arrays = random_arrays(PASSL_VIT)
    ours = from_family(arrays, "passl")
    assert ours.family == "passl-2021"
    assert from_family(ours.arrays, "passl").family == "passl"


def test_quick_gelu_belongs_to_openai_and_passl_2021_and_the_others_say_nothing():
    implied = {family: implied_activation(family) for family in FAMILIES}
    assert {family for family, activation in implied.items() if activation} == {"openai", "passl-2021"}
    assert implied["openai"] == implied["passl-2021"] == "quick_gelu"


def test_towers_without_first_norm_projection_and_biases_convert_too():
    optional = ("norm_pre", "visual.proj", "attn.qkv.bias")
    arrays = random_arrays({n: shape for n, shape in PASSL_VIT.items() if not any(part in n for part in optional)})
    written = to_family(from_family(arrays).arrays, "passl-2021", prefix="")
    assert weights_hash(written) == weights_hash(arrays)


def test_name_that_no_rule_fits_stops_the_conversion():
    arrays = random_arrays({**PASSL_VIT, "visual.blocks.0.attn.extra": (1,), "head.weight": (1,)})
    with pytest.raises(UserError, match=r"no such names: visual.blocks.0.attn.extra, head.weight"):
        from_family(arrays)


@pytest.mark.parametrize(
    "name, shape, form",
    [
        ("visual.class_embedding", (D,), r"\[1, 1, D\]"),
        ("visual.positional_embedding", (2, N, D), r"\[1, N, D\]"),
        ("visual.blocks.0.attn.qkv.weight", (D, 3 * D + 1), r"\[D, 3D\]"),
        ("logit_scale", (2,), r"\[1\]"),
    ],
)
def test_array_of_another_form_is_refused_by_name(name, shape, form):
    with pytest.raises(UserError, match=f"{name} has the shape .*{form}"):
        from_family(random_arrays({**PASSL_VIT, name: shape}))


def test_unknown_layout_lists_the_names_and_the_known_layouts():
    with pytest.raises(UserError, match="not known: conv.weight.*PASSL"):
        from_family({"conv.weight": np.ones(1)})


def test_mixed_layouts_are_refused():
    names = ["text.blocks.0.norm1.weight", "visual.blocks.0.attn.qkv.weight"]
    with pytest.raises(UserError, match="mix"):
        from_family({name: np.ones(3) for name in names})


def test_names_without_a_place_there_are_refused():
    ours = from_family(random_arrays(PASSL_VIT)).arrays
    with pytest.raises(UserError, match="no place for a bias of the logits and logit_bias"):
        to_family({**ours, "logit_bias": np.ones(())}, "passl-2021")
    del ours["text.blocks.0.attn.k_proj.bias"]
    with pytest.raises(UserError, match="attn.qkv.bias, made of text.blocks.0.attn.k_proj.bias, not there"):
        to_family(ours, "passl-2021")
