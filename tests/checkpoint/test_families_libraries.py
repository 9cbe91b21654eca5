"""Checkpoints of other libraries: names and shapes that they were seen to save, to ours and back, without torch."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from passl.checkpoint import FAMILIES, from_family, layout_name, to_family
from passl.checkpoint.families.rules import filled
from passl.modeling.architectures import shapes_of
from passl.utils.errors import UserError

NAMES = json.loads(Path(__file__).with_name("library_names.json").read_text())
OPEN_CLIP = [kind for kind in NAMES if kind.startswith("open_clip ")]
HUGGINGFACE = [kind for kind in NAMES if kind not in OPEN_CLIP]
COUNTERS = re.compile(r".*\.num_batches_tracked")
rng = np.random.default_rng(0)


def random_arrays(kind, dtype="float32"):
    """One kind of model; in names of batch norms' counters too, where the library saves them."""
    return {name: np.asarray(rng.normal(size=shape)).astype(dtype) for name, shape in NAMES[kind].items()}


def family_of(kind):
    return "open_clip" if kind in OPEN_CLIP else "huggingface"


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert (found[name].shape, found[name].dtype) == (array.shape, array.dtype), name
        assert np.array_equal(found[name], array), name


def openai_arrays(kind="open_clip vit", dtype="float16"):
    scalars = {name: np.array(1) for name in ("input_resolution", "context_length", "vocab_size")}
    return {**random_arrays(kind, dtype), **scalars}


def paddlemix_arrays(prefix=""):
    """PaddleMIX's arrays for a tiny ViT, made from open_clip's by what its code says."""
    theirs = {}
    for name, array in random_arrays("open_clip vit").items():
        if not name.startswith(("visual.", "logit")):
            name = prefix + name
        if "in_proj_" in name:
            stem, kind = name.split("in_proj_")
            theirs.update({f"{stem}{p}_proj.{kind}": part.T for p, part in zip("qkv", np.split(array, 3))})
        elif array.ndim == 2 and name.endswith((".out_proj.weight", ".c_fc.weight", ".c_proj.weight")):
            theirs[name] = array.T
        else:
            theirs[name] = array
    return {**theirs, "logit_scale": np.ones(1, "float32")}


# ---------------------------------------------------------------------------------------------------- there and back


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("kind", NAMES)
def test_round_trip_gives_the_same_bits_under_the_same_names(kind, dtype):
    arrays = random_arrays(kind, dtype)
    found = from_family(arrays)
    assert found.family == family_of(kind)
    layout = "CustomTextCLIP" if kind.startswith("open_clip custom vit") else None
    wanted = {name: array for name, array in arrays.items() if not COUNTERS.fullmatch(name)}
    if kind in ("clip image", "clip text", "siglip image", "siglip text"):  # written with the names both versions read
        prefix = "vision_model." if "image" in kind else "text_model."
        wanted = {prefix + name: array for name, array in wanted.items()}
    assert_same(to_family(found.arrays, found.family, layout=layout), wanted)


@pytest.mark.parametrize("kind", ["open_clip vit", "open_clip resnet"])
def test_openai_round_trip_drops_the_sizes_only(kind):
    arrays = openai_arrays(kind)
    found = from_family(arrays)
    assert (found.family, found.is_certain) == ("openai", True)
    wanted = {name: array for name, array in arrays.items() if name in NAMES[kind] and not COUNTERS.fullmatch(name)}
    assert_same(to_family(found.arrays, "openai"), wanted)


@pytest.mark.parametrize("prefix", ["", "text."])
def test_paddlemix_round_trip_gives_the_same_bits(prefix):
    arrays = paddlemix_arrays(prefix)
    found = from_family(arrays)
    assert (found.family, found.is_certain) == ("paddlemix", True)
    layout = "CLIP with custom_text" if prefix else None
    assert_same(to_family(found.arrays, "paddlemix", layout=layout), arrays)


@pytest.mark.parametrize(
    "kind, families",
    [
        ("open_clip vit", list(FAMILIES)),
        ("open_clip resnet", ["passl", "passl-2021", "openai", "open_clip"]),
    ],
)
def test_one_model_is_the_same_in_all_families_that_can_hold_it(kind, families):
    ours = from_family(random_arrays(kind)).arrays
    for family in families:
        found = from_family(to_family(ours, family), family)
        assert found.family == family
        assert_same(found.arrays, ours)


@pytest.mark.parametrize("kind, other", [("open_clip siglip", "siglip"), ("siglip", "open_clip siglip")])
def test_siglip_goes_from_one_library_to_the_other(kind, other):
    ours = from_family(random_arrays(kind)).arrays
    theirs = to_family(ours, family_of(other))
    assert theirs.keys() == NAMES[other].keys()
    assert_same(from_family(theirs).arrays, ours)


@pytest.mark.parametrize("kind", NAMES)
def test_nothing_is_copied_on_the_way_to_ours(kind):
    arrays = random_arrays(kind)
    read_only = {name: array.view() for name, array in arrays.items()}
    for array in read_only.values():
        array.flags.writeable = False
    found = from_family(read_only).arrays
    for name, array in found.items():
        assert any(np.shares_memory(array, source) for source in arrays.values()), name


def test_only_what_the_family_keeps_in_one_array_is_copied_on_the_way_back():
    ours = from_family(random_arrays("clip")).arrays
    same = to_family(ours, "huggingface")
    assert all(any(np.shares_memory(array, source) for source in ours.values()) for array in same.values())
    joined = to_family(ours, "open_clip")
    copied = {n for n, a in joined.items() if not any(np.shares_memory(a, source) for source in ours.values())}
    assert copied == {name for name in joined if ".in_proj_" in name}


# ---------------------------------------------------------------------------------------------------- what becomes what


def test_open_clip_attention_splits_into_query_key_value_and_is_transposed():
    arrays = random_arrays("open_clip vit")
    ours = from_family(arrays).arrays
    weight = arrays["visual.transformer.resblocks.0.attn.in_proj_weight"]
    for place, part in enumerate("qkv"):
        rows = slice(8 * place, 8 * place + 8)
        np.testing.assert_array_equal(ours[f"visual.blocks.0.attn.{part}_proj.weight"], weight[rows].T)
    np.testing.assert_array_equal(ours["visual.proj"], arrays["visual.proj"])
    np.testing.assert_array_equal(ours["text.token_embedding.weight"], arrays["token_embedding.weight"])


def test_siglip_pool_of_timm_has_the_query_apart():
    arrays = random_arrays("open_clip siglip")
    ours = from_family(arrays).arrays
    pool = "visual.trunk.attn_pool"
    np.testing.assert_array_equal(ours["visual.attn_pool.q_proj.weight"], arrays[f"{pool}.q.weight"].T)
    np.testing.assert_array_equal(ours["visual.attn_pool.k_proj.weight"], arrays[f"{pool}.kv.weight"][:8].T)
    np.testing.assert_array_equal(ours["visual.attn_pool.v_proj.bias"], arrays[f"{pool}.kv.bias"][8:])
    np.testing.assert_array_equal(ours["visual.attn_pool.latent"], arrays[f"{pool}.latent"][0, 0])


def test_projections_of_huggingface_are_transposed_and_its_tables_are_not():
    arrays = random_arrays("clip")
    ours = from_family(arrays).arrays
    np.testing.assert_array_equal(ours["visual.proj"], arrays["visual_projection.weight"].T)
    np.testing.assert_array_equal(ours["text.projection"], arrays["text_projection.weight"].T)
    table = "embeddings.position_embedding.weight"
    np.testing.assert_array_equal(ours["visual.positional_embedding"], arrays[f"vision_model.{table}"])


def test_two_projections_after_roberta_keep_their_order():
    arrays = random_arrays("open_clip roberta")
    ours = from_family(arrays).arrays
    np.testing.assert_array_equal(ours["text.projection_hidden"], arrays["text.proj.0.weight"].T)
    np.testing.assert_array_equal(ours["text.projection"], arrays["text.proj.2.weight"].T)


@pytest.mark.parametrize(
    "kind, shape",
    [("clip", ()), ("siglip", (1,)), ("open_clip siglip", ()), ("dual vit bert", ())],
)
def test_temperature_has_the_shape_each_library_gives_it(kind, shape):
    ours = from_family(random_arrays(kind)).arrays
    assert ours["logit_scale"].shape == ()
    assert to_family(ours, family_of(kind))["logit_scale"].shape == shape


def test_temperature_in_a_vector_is_read_everywhere():
    arrays = {**random_arrays("open_clip vit"), "logit_scale": np.ones(1, "float32")}
    assert from_family(arrays).arrays["logit_scale"].shape == ()


@pytest.mark.parametrize("kind", NAMES)
def test_layout_name_is_the_class_that_saved_the_weights(kind):
    classes = {
        "clip": "CLIPModel",
        "siglip": "SiglipModel",
        "clip image projected": "CLIPVisionModelWithProjection",
        "clip text projected": "CLIPTextModelWithProjection",
        "clip image": "CLIPVisionModel",
        "clip text": "CLIPTextModel",
        "siglip image": "SiglipVisionModel",
        "siglip text": "SiglipTextModel",
    }
    wanted = "VisionTextDualEncoderModel" if kind.startswith("dual") else classes.get(kind)
    if kind in OPEN_CLIP:
        needs_custom = {"open_clip siglip", "open_clip roberta", "open_clip xlm-roberta", "open_clip bert"}
        wanted = "CustomTextCLIP" if kind in needs_custom else "CLIP"
    assert layout_name(from_family(random_arrays(kind)).arrays, family_of(kind)) == wanted


def test_layout_name_of_our_own_layout_is_none():
    assert layout_name(from_family(random_arrays("clip")).arrays, "passl") is None


# ---------------------------------------------------------------------------------------------------- other versions


@pytest.mark.parametrize("kind", ["clip image", "clip text", "siglip image", "siglip text"])
def test_tower_alone_is_read_with_and_without_its_prefix(kind):
    arrays = random_arrays(kind)
    prefix = "vision_model." if "image" in kind else "text_model."
    older = {prefix + name: array for name, array in arrays.items()}
    assert_same(from_family(older).arrays, from_family(arrays).arrays)


@pytest.mark.parametrize("kind, prefix", [("dual clip roberta", "vision_model."), ("dual vit clip", "text_model.")])
def test_tower_of_clip_in_a_dual_encoder_is_read_as_version_4_saves_it(kind, prefix):
    arrays = random_arrays(kind)
    older = {prefix + name if name.startswith(prefix) else name: array for name, array in arrays.items()}
    assert_same(from_family(older).arrays, from_family(arrays).arrays)


def test_vit_is_read_by_the_names_it_has_in_memory():
    arrays = random_arrays("dual vit bert")
    renamed = {}
    for name, array in arrays.items():
        if name.startswith("vision_model.encoder."):
            name = name.replace("encoder.layer.", "layers.").replace("attention.attention.", "attention.")
            for theirs, to in (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj")):
                name = name.replace(theirs, to)
            name = name.replace("attention.output.dense", "attention.o_proj")
            name = name.replace("intermediate.dense", "mlp.fc1").replace("output.dense", "mlp.fc2")
        renamed[name] = array
    assert len({*renamed} - {*arrays}) == 16
    assert_same(from_family(renamed).arrays, from_family(arrays).arrays)


@pytest.mark.parametrize(
    "kind, names",
    [
        ("clip", ["text_model.embeddings.position_ids", "vision_model.embeddings.position_ids"]),
        ("dual vit bert", ["text_model.embeddings.position_ids", "text_model.embeddings.token_type_ids"]),
        ("open_clip roberta", ["text.transformer.embeddings.position_ids"]),
        ("open_clip vit", ["attn_mask"]),
    ],
)
def test_buffers_that_carry_nothing_are_dropped_and_named(kind, names):
    arrays = random_arrays(kind)
    found = from_family({**arrays, **{name: np.zeros((1, 7), "int64") for name in names}})
    assert_same(found.arrays, from_family(arrays).arrays)
    assert set(found.dropped) - set(from_family(arrays).dropped) == set(names)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.module."])
def test_prefixes_of_training_are_taken_off_in_any_order(prefix):
    arrays = random_arrays("open_clip vit")
    found = from_family({prefix + name: array for name, array in arrays.items()})
    assert_same(found.arrays, from_family(arrays).arrays)


def test_tower_compiled_alone_is_read():
    arrays = random_arrays("open_clip vit")
    compiled = {name.replace("visual.", "visual._orig_mod."): array for name, array in arrays.items()}
    assert_same(from_family(compiled).arrays, from_family(arrays).arrays)


def test_names_that_meet_without_the_prefix_are_refused():
    arrays = random_arrays("open_clip vit")
    with pytest.raises(UserError, match="with and without `_orig_mod.`"):
        from_family({**arrays, "_orig_mod.logit_scale": np.ones(())})


# ---------------------------------------------------------------------------------------------------- recognition


@pytest.mark.parametrize("kind", ["open_clip vit", "open_clip resnet"])
def test_plain_clip_may_be_either_until_it_is_named(kind):
    arrays = random_arrays(kind)
    assert from_family(arrays)[1:3] == ("open_clip", False)
    assert from_family(arrays, "open_clip")[1:3] == ("open_clip", True)
    assert from_family(arrays, "openai")[1:3] == ("openai", True)


@pytest.mark.parametrize("kind", [kind for kind in OPEN_CLIP if kind not in ("open_clip vit", "open_clip resnet")])
def test_open_clip_is_certain_by_names_of_its_own(kind):
    assert from_family(random_arrays(kind))[1:3] == ("open_clip", True)
    with pytest.raises(UserError, match=r"look like open_clip's layout \(.*not like OpenAI's layout; say open_clip"):
        from_family(random_arrays(kind), "openai")


def test_plain_clip_that_lacks_what_the_original_code_has_is_open_clips():
    arrays = {name: array for name, array in random_arrays("open_clip vit").items() if "ln_pre" not in name}
    assert from_family(arrays)[1:3] == ("open_clip", True)


@pytest.mark.parametrize("kind", HUGGINGFACE)
def test_huggingface_is_certain(kind):
    assert from_family(random_arrays(kind))[1:3] == ("huggingface", True)


@pytest.mark.parametrize(
    "make, said, title",
    [
        (lambda: random_arrays("clip"), "open_clip", "Hugging Face"),
        (lambda: random_arrays("open_clip vit"), "huggingface", "open_clip"),
        (lambda: random_arrays("open_clip vit"), "paddlemix", "open_clip"),
        (lambda: random_arrays("open_clip vit"), "passl", "open_clip"),
        (paddlemix_arrays, "open_clip", "PaddleMIX"),
        (paddlemix_arrays, "openai", "PaddleMIX"),
        (openai_arrays, "open_clip", "OpenAI"),
        (lambda: to_family(from_family(random_arrays("clip")).arrays, "passl-2021"), "openai", "PASSL .2021."),
    ],
)
def test_wrong_family_says_what_the_weights_look_like(make, said, title):
    with pytest.raises(UserError, match=f"look like (the layout of )?{title}.*not like"):
        from_family(make(), said)


def test_family_that_is_not_there_gets_the_nearest():
    with pytest.raises(UserError, match="no family 'openclip'. Did you mean 'open_clip'"):
        from_family(random_arrays("clip"), "openclip")
    with pytest.raises(UserError, match="no family 'hugging'.*Accepted: passl, passl-2021, openai, open_clip"):
        to_family({}, "hugging")


@pytest.mark.parametrize(
    "name, what",
    [
        ("text_decoder.resblocks.0.ln_1.weight", "CoCa"),
        ("text.cls_emb", "CoCa"),
        ("visual.attn_pool.query", "CoCa"),
        ("visual.blocks.0.attn.q_bias", "EVA-CLIP"),
        ("visual.blocks.0.mlp.w1.weight", "EVA-CLIP"),
        ("visual.cls_token", "EVA-CLIP"),
        ("visual.trunk.blocks.0.mlp.fc1_g.weight", "EVA-CLIP"),
        ("visual.trunk.cls_token", "PE, MobileCLIP2-L or another"),
        ("visual.trunk.norm_pre.weight", "PE, MobileCLIP2-L or another"),
        ("visual.trunk.patch_embed.backbone.0.conv.weight", "MobileCLIP"),
        ("visual.trunk.stages.0.blocks.0.conv_dw.weight", "ConvNeXt"),
        ("visual.trunk.stages.0.blocks.0.token_mixer.norm.identity.weight", "MobileCLIP"),
        ("image_encoder.model.patch_embed.0.rbr_conv.0.conv.weight", "MobileCLIP"),
        ("visual.trunk.patch_embed.backbone.stem.conv1.weight", "ViTamin"),
        ("visual.trunk.embeds.proj.weight", "NaFlex"),
        ("visual.trunk.layers.0.blocks.0.norm1.weight", "Swin"),
        ("visual.head.proj.weight", "another image tower of timm's"),
        ("text.transformer.block.0.layer.0.layer_norm.weight", "mT5"),
        ("text.transformer.layers.0.self_attn.k_proj.weight", "NLLB"),
    ],
)
def test_model_that_is_not_supported_yet_is_named(name, what):
    arrays = {"logit_scale": np.ones(()), "text.transformer.resblocks.0.attn.in_proj_bias": np.ones(3)}
    with pytest.raises(UserError, match=f"look like .*{what}.*{name}.*not supported yet"):
        from_family({**arrays, name: np.ones(1)})


@pytest.mark.parametrize("kind", ["open_clip vit", "clip", "open_clip siglip", "dual vit bert"])
def test_unused_name_stops_the_conversion_and_is_listed(kind):
    with pytest.raises(UserError, match="no such names: visual_head.weight"):
        from_family({**random_arrays(kind), "visual_head.weight": np.ones(3)})


def test_patch_projection_for_images_of_any_size_is_refused():
    arrays = {**random_arrays("siglip"), "vision_model.embeddings.patch_embedding.weight": np.ones((8, 48))}
    with pytest.raises(UserError, match=r"patch_embedding.weight has the shape \[8, 48\].*not supported yet"):
        from_family(arrays)


# ---------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "kind, family, reason",
    [
        ("open_clip roberta", "openai", "no place for a BERT text tower and .*text.token_type_embedding"),
        ("open_clip roberta", "huggingface", "text.projection_hidden"),
        ("open_clip siglip", "openai", "attention pooling"),
        ("open_clip siglip", "paddlemix", "attention pooling"),
        ("open_clip resnet", "huggingface", "no place for a ResNet"),
        ("open_clip resnet", "paddlemix", "no place for a ResNet"),
        ("open_clip vit with options", "huggingface", "a bias of the logits"),
        ("open_clip vit with options", "openai", "scale1.gamma"),
        ("dual vit bert", "open_clip", "visual.pooler.weight|class_embedding"),
        ("clip image projected", "open_clip", "always has token_embedding.weight"),
        ("clip text projected", "openai", "always has visual.conv1.weight"),
        ("clip image", "openai", "always has .*visual.proj"),
    ],
)
def test_model_that_a_family_cannot_hold_is_refused_with_the_reason(kind, family, reason):
    ours = from_family(random_arrays(kind)).arrays
    with pytest.raises(UserError, match=f"{FAMILIES[family].title} cannot hold this model: .*({reason})"):
        to_family(ours, family)


def test_model_without_first_norm_is_no_clip_model():
    arrays = {name: a for name, a in random_arrays("open_clip vit").items() if "ln_pre" not in name}
    ours = from_family(arrays).arrays
    assert_same(to_family(ours, "open_clip"), arrays)
    with pytest.raises(
        UserError, match="CLIP always has visual.ln_pre.weight, visual.ln_pre.bias, made of visual.norm_pre"
    ):
        to_family(ours, "openai")


def test_layout_that_is_not_there_lists_the_others():
    ours = from_family(random_arrays("open_clip vit")).arrays
    with pytest.raises(UserError, match="no layout 'CustomText'. Did you mean 'CustomTextCLIP'"):
        to_family(ours, "open_clip", layout="CustomText")


def test_parts_of_different_shapes_are_not_joined():
    ours = from_family(random_arrays("open_clip vit")).arrays
    ours["text.blocks.0.attn.k_proj.bias"] = np.ones(3, "float32")
    with pytest.raises(UserError, match=r"joins arrays of one shape, not .*k_proj.bias \[3\]"):
        to_family(ours, "open_clip")


# ---------------------------------------------------------------------------------------------------- the tables


LAYOUTS = [(family, layout) for family, entry in FAMILIES.items() for layout in entry.layouts or ()]


@pytest.mark.parametrize("family, layout", LAYOUTS, ids=lambda value: getattr(value, "name", value))
def test_every_name_of_a_layout_fits_one_rule_of_it(family, layout):
    for rule in layout.rules:
        assert layout.by_theirs.find(filled(rule.theirs, ("3", "14")))[0] is rule
        for place, ours in enumerate(rule.ours):
            assert layout.by_ours.find(filled(ours, ("3", "14")))[:2] == (rule, place)


# ---------------------------------------------------------------------------------------------------- our networks

VIT = {"name": "VisionTransformer", "image_size": 8, "patch_size": 4, "width": 8, "num_layers": 1, "num_heads": 2}
RESNET = {"name": "ModifiedResNet", "image_size": 32, "layers": [2, 1, 1, 1], "width": 4, "num_heads": 4}
TEXT = {"name": "TextTransformer", "context_length": 7, "vocab_size": 20, "width": 10, "num_layers": 2, "num_heads": 2}
BERT = {**TEXT, "name": "BertEncoder", "num_layers": 1, "mlp_width": 14, "num_positions": 9, "pool": "pooler"}
OPTIONS = {"pre_norm": False, "pool": "average", "layer_scale": 0.1}
SIGLIP = {"class_token": False, "pre_norm": False, "pool": "attention", "proj": False, "patch_bias": True}
HF_VIT = {**VIT, "mlp_width": 12}
HF_BARE_VIT = {**HF_VIT, "pre_norm": False, "patch_bias": True, "pooler": True}
HF_TEXT = {**TEXT, "num_layers": 1, "mlp_width": 14}
HF_SIGLIP_TEXT = {**HF_TEXT, "width": 8, "proj_bias": True}
NETWORKS = {  # embedding, image tower, text tower, has a bias
    "open_clip vit": (6, VIT, TEXT, False),
    "open_clip vit with options": (6, {**VIT, **OPTIONS}, {**TEXT, "proj_bias": True, "layer_scale": 0.1}, True),
    "open_clip resnet": (6, RESNET, TEXT, False),
    "open_clip siglip": (8, {**VIT, **SIGLIP}, {**TEXT, "width": 8, "num_layers": 1, "proj_bias": True}, True),
    "open_clip roberta": (6, VIT, {**BERT, "pool": "mean", "proj": "mlp"}, False),
    "open_clip xlm-roberta": (6, VIT, {**BERT, "pool": "mean"}, False),
    "open_clip bert": (6, VIT, BERT, False),
    "clip": (6, HF_VIT, HF_TEXT, False),
    "clip image projected": (6, HF_VIT, None, False),
    "clip text projected": (6, None, HF_TEXT, False),
    "clip image": (8, {**HF_VIT, "proj": False}, None, False),
    "clip text": (10, None, {**HF_TEXT, "proj": False}, False),
    "siglip": (8, {**HF_VIT, **SIGLIP}, HF_SIGLIP_TEXT, True),
    "siglip image": (8, {**HF_VIT, **SIGLIP}, None, False),
    "siglip text": (8, None, HF_SIGLIP_TEXT, False),
    "dual clip roberta": (6, HF_VIT, BERT, False),
    "dual vit bert": (6, HF_BARE_VIT, BERT, False),
    "dual vit xlm-roberta": (6, HF_BARE_VIT, BERT, False),
    "dual vit clip": (6, HF_BARE_VIT, HF_TEXT, False),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_converted_weights_have_the_names_and_shapes_of_our_networks(kind):
    embed_dim, image, text, has_bias = NETWORKS[kind]
    towers = {"embed_dim": embed_dim, "image": image, "text": text}
    expected = shapes_of({"name": "DualEncoder", **towers, "init_logit_bias": -10.0 if has_bias else None})
    found = from_family(random_arrays(kind)).arrays
    assert {name: array.shape for name, array in found.items()} == expected
