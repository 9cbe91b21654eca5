"""Layouts of CLIP weights: recognised by their names, converted by the rules, strictly."""

import logging

import numpy as np
import paddle
import pytest

from passl.checkpoint import from_family, implied_activation, read_weights, to_passl, weights_hash
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
    found, family = from_family(random_arrays(PASSL_VIT))
    assert family == "passl"
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
    found, _ = from_family(arrays)
    for place, part in enumerate("qkv"):
        columns = slice(place * D, (place + 1) * D)
        weight, bias = (arrays[f"visual.blocks.0.attn.qkv.{p}"] for p in ("weight", "bias"))
        np.testing.assert_array_equal(found[f"visual.blocks.0.attn.{part}_proj.weight"], weight[:, columns])
        np.testing.assert_array_equal(found[f"visual.blocks.0.attn.{part}_proj.bias"], bias[columns])


def test_passl_resnet_gets_our_names(caplog):
    with caplog.at_level(logging.WARNING, logger="passl"):
        found, family = from_family(random_arrays(PASSL_RESNET))
    assert family == "passl"
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
    assert "never saved the positions" in caplog.text


@pytest.mark.parametrize("shapes", [PASSL_VIT, PASSL_RESNET], ids=["vit", "resnet"])
@pytest.mark.parametrize("prefix", ["", "model."])
def test_to_passl_is_the_inverse(shapes, prefix):
    arrays = random_arrays({prefix + name: shape for name, shape in shapes.items()})
    assert weights_hash(to_passl(from_family(arrays)[0], prefix=prefix)) == weights_hash(arrays)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("prefix", ["", "model."])
def test_passl_file_reads_with_and_without_prefix_and_outer_dict(tmp_path, prefix, nested):
    arrays = random_arrays(PASSL_VIT)
    tensors = {prefix + name: paddle.to_tensor(array) for name, array in arrays.items()}
    paddle.save({"state_dict": tensors, "epoch": 1} if nested else tensors, str(tmp_path / "a.pdparams"))
    found, family = from_family(read_weights(tmp_path / "a.pdparams"))
    assert family == "passl" and weights_hash(found) == weights_hash(from_family(arrays)[0])


def test_tensors_in_an_outer_dict_convert_too():
    arrays = random_arrays(PASSL_VIT)
    tensors = {f"model.{name}": paddle.to_tensor(array) for name, array in arrays.items()}
    found, _ = from_family({"state_dict": tensors, "epoch": 1})
    assert weights_hash(found) == weights_hash(from_family(arrays)[0])


@pytest.mark.parametrize("prefix", ["", "model."])
def test_our_own_names_stay(prefix):
    ours, _ = from_family(random_arrays(PASSL_VIT))
    found, family = from_family({prefix + name: array for name, array in ours.items()})
    assert family == "ours" and weights_hash(found) == weights_hash(ours)


def test_quick_gelu_belongs_to_passl_and_our_layout_says_nothing():
    assert implied_activation("passl") == "quick_gelu"
    assert implied_activation("ours") is None


def test_name_that_no_rule_fits_stops_the_conversion():
    arrays = random_arrays({**PASSL_VIT, "visual.blocks.0.attn.extra": (1,), "head.weight": (1,)})
    with pytest.raises(UserError, match=r"no such names: visual.blocks.0.attn.extra, head.weight"):
        from_family(arrays)


@pytest.mark.parametrize(
    "name, shape, form",
    [
        ("visual.class_embedding", (D,), r"\[1, 1, D\]"),
        ("visual.positional_embedding", (2, N, D), r"\[1, N, D\]"),
        ("visual.blocks.0.attn.qkv.weight", (D, 3 * D + 1), r"\[..., 3D\]"),
        ("logit_scale", (2,), r"\[1\]"),
    ],
)
def test_array_of_another_form_is_refused_by_name(name, shape, form):
    with pytest.raises(UserError, match=f"{name} has the shape .*{form}"):
        from_family(random_arrays({**PASSL_VIT, name: shape}))


@pytest.mark.parametrize(
    "names, title",
    [
        (["visual.transformer.resblocks.0.ln_1.weight", "logit_scale"], "OpenAI and open_clip"),
        (["visual.conv1.weight", "transformer.resblocks.0.ln_1.weight"], "OpenAI and open_clip"),
        (["module.transformer.resblocks.0.ln_1.weight"], "OpenAI and open_clip"),
        (["visual.trunk.blocks.0.norm1.weight", "text.transformer.resblocks.0.ln_1.weight"], "OpenAI and open_clip"),
        (["vision_model.embeddings.class_embedding", "text_model.final_layer_norm.bias"], "Hugging Face"),
    ],
)
def test_layout_not_read_yet_is_named_and_points_to_the_converter(names, title):
    with pytest.raises(UserError, match=f"look like the layout of {title}.*passl convert"):
        from_family({name: np.ones(1, "float32") for name in names})


def test_unknown_layout_lists_the_names_and_the_known_layouts():
    with pytest.raises(UserError, match="not known: conv.weight.*PASSL"):
        from_family({"conv.weight": np.ones(1)})


def test_mixed_layouts_are_refused():
    names = ["text.blocks.0.norm1.weight", "visual.blocks.0.attn.qkv.weight"]
    with pytest.raises(UserError, match="mix"):
        from_family({name: np.ones(3) for name in names})


def test_to_passl_refuses_names_without_a_place_there():
    ours, _ = from_family(random_arrays(PASSL_VIT))
    with pytest.raises(UserError, match="no place for logit_bias"):
        to_passl({**ours, "logit_bias": np.ones(())})
    del ours["text.blocks.0.attn.k_proj.bias"]
    with pytest.raises(UserError, match="text.blocks.0.attn.k_proj.bias is not"):
        to_passl(ours)
