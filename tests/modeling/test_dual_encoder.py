from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import paddle
import pytest

from passl.checkpoint import is_model_folder, layer_arrays, read_model_folder, to_family
from passl.config import ConfigError, build, load_config
from passl.modeling.architectures import CLIP, CLIPWrapper, DualEncoder, architecture_from_spec, shapes_of
from passl.tokenizers import ClipTokenizer, FileTokenizer
from passl.utils.errors import UserError
from passl.utils.registry import ARCHITECTURES, BACKBONES

IMAGE = {"name": "VisionTransformer", "image_size": 16, "patch_size": 8, "width": 16, "num_layers": 1, "num_heads": 2}
SIGLIP_IMAGE = {**IMAGE, "pre_norm": False, "class_token": False, "pool": "attention", "proj": False}
RESNET = {"name": "ModifiedResNet", "image_size": 32, "layers": [1, 1, 1, 1], "width": 4, "num_heads": 2}
SIZES = {"vocab_size": 60, "width": 16, "num_layers": 1, "num_heads": 2}
TEXT = {"name": "TextTransformer", "context_length": 6, **SIZES}
BERT = {"name": "BertEncoder", "context_length": 6, "num_positions": 8, **SIZES}
FILES = {"name": "FileTokenizer", "clean": "canonicalize"}

# Every kind of network: its towers and other keys.
KINDS = {
    "CLIP": {"image": IMAGE, "text": TEXT},
    "ResNet": {"image": RESNET, "text": TEXT},
    "SigLIP": {
        "image": SIGLIP_IMAGE,
        "text": {**TEXT, "is_causal": False, "pool": "last", "proj_bias": True, "activation": "gelu"},
        "init_logit_scale": math.log(10),
        "init_logit_bias": -10.0,
        "tokenizer": FILES,
    },
    "BERT": {"image": IMAGE, "text": {**BERT, "pool": "pooler", "proj": "mlp"}, "tokenizer": FILES},
    "images alone": {"image": IMAGE, "text": None},
    "texts alone": {"image": None, "text": TEXT},
}


@dataclass(frozen=True)
class Section:
    """Holds an architecture as a config does."""

    architecture: Annotated[dict, ARCHITECTURES]


def node_of(kind: str, **changes) -> dict:
    return {"name": "DualEncoder", "embed_dim": 16, **KINDS[kind], **changes}


def make(kind: str, **changes) -> DualEncoder:
    return ARCHITECTURES.build(node_of(kind, **changes))


def batch() -> tuple:
    paddle.seed(1)
    return paddle.randn([3, 3, 16, 16]), paddle.randint(1, 60, [2, 6])


# ---------------------------------------------------------------------------------------------------- logits


def test_logits_are_scaled_cosines_plus_the_bias():
    model = make("SigLIP")
    image, text = batch()
    by_image, by_text = model(image, text)
    cosines = model.encode_image(image, normalize=True).numpy() @ model.encode_text(text, normalize=True).numpy().T
    np.testing.assert_allclose(by_image.numpy(), 10 * cosines - 10, rtol=1e-5)
    np.testing.assert_array_equal(by_text.numpy(), by_image.numpy().T)


def test_a_model_without_bias_has_no_such_parameter():
    model = make("CLIP")
    assert model.logit_bias is None
    assert "logit_bias" not in model.state_dict()
    assert float(model.logit_scale) == pytest.approx(math.log(1 / 0.07))


def test_scale_and_bias_are_trained_in_float32_scalars():
    model = make("SigLIP")
    model(*batch())[0].sum().backward()
    for parameter in (model.logit_scale, model.logit_bias):
        assert parameter.shape == [] and float(parameter.grad.abs()) > 0


@pytest.mark.parametrize("kind", ["CLIP", "SigLIP", "BERT"])
def test_gradient_reaches_every_parameter(kind):
    model = make(kind)
    image, text = batch()
    sum((logits**2).mean() for logits in model(image, text)).backward()
    # A key's bias adds the same to all scores of a query; the positions after the text and BERT's second type are unused.
    idle = ("k_proj.bias", "positional_embedding", "token_type_embedding", "token_embedding.weight")
    silent = [
        name
        for name, value in model.named_parameters()
        if value.grad is None or (float(value.grad.abs().max()) == 0 and not name.endswith(idle))
    ]
    assert not silent


# ---------------------------------------------------------------------------------------------------- missing towers


def test_a_missing_tower_is_said():
    image, text = batch()
    images, texts = make("images alone"), make("texts alone")
    assert images.encode_image(image).shape == [3, 16] and texts.encode_text(text).shape == [2, 16]
    assert images.text is None and texts.visual is None
    assert images.logit_scale is None and "logit_scale" not in images.state_dict()
    for call in (lambda: images.encode_text(text), lambda: images(image, text), images.make_tokenizer):
        with pytest.raises(UserError, match="has no text tower: it was built with text: null"):
            call()
    with pytest.raises(UserError, match="has no image tower"):
        texts.encode_image(image)
    images.clamp_logit_scale()  # nothing to do


def test_no_tower_at_all_is_refused():
    with pytest.raises(UserError, match="image and text are both null"):
        make("CLIP", image=None, text=None)


def test_a_tower_in_the_place_of_the_other_is_refused():
    with pytest.raises(UserError, match="image: TextTransformer is a tower for texts"):
        make("CLIP", image=TEXT)


def test_training_needs_both_towers():
    with pytest.raises(UserError, match="trains pairs"):
        CLIPWrapper(architecture=node_of("images alone"))


@pytest.mark.parametrize("kind", ["SigLIP", "BERT"])
def test_the_wrapper_trains_any_two_towers(kind):
    wrapper = CLIPWrapper(architecture=node_of(kind))
    image, text = batch()
    losses = wrapper({"image": image[:2], "text": text})
    losses["loss"].backward()
    wrapper.constrain()
    assert math.isfinite(float(losses["loss"]))


# ---------------------------------------------------------------------------------------------------- specification


@pytest.mark.parametrize("kind", KINDS)
def test_spec_builds_the_same_model_after_a_way_through_json(kind):
    model = make(kind, image_mean=(0.5, 0.5, 0.5), image_resize_mode="squash", image_interpolation="bilinear")
    node = architecture_from_spec(json.loads(json.dumps(model.spec)))
    assert build(Section, {"architecture": node}).architecture["name"] == "DualEncoder"  # as a config it fits
    again = ARCHITECTURES.build(node)
    assert again.spec == model.spec
    assert shapes(again) == shapes(model)


def shapes(model) -> dict:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def test_spec_says_every_key_of_both_towers():
    spec = make("SigLIP").spec
    architecture = spec["architecture"]
    assert list(architecture) == ["name", "embed_dim", "image", "text", "init_logit_scale", "init_logit_bias"]
    assert architecture["image"]["mlp_width"] == 64 and architecture["image"]["norm_epsilon"] == 1e-5
    assert architecture["text"]["mlp_width"] == 64 and architecture["text"]["eos_id"] is None
    assert spec["tokenizer"] == FileTokenizer(clean="canonicalize", context_length=6).spec
    assert spec["preprocessing"]["size"] == 16


def test_spec_of_one_tower_says_nothing_of_the_other():
    assert make("images alone").spec["tokenizer"] is None
    assert make("texts alone").spec["preprocessing"]["size"] is None


def test_the_flat_spelling_describes_the_same_model(tiny):
    flat = CLIP(**{key: value for key, value in tiny.items() if key != "name"})
    image = {
        "name": "VisionTransformer",
        "image_size": 32,
        "patch_size": 8,
        "width": 32,
        "num_layers": 2,
        "num_heads": 2,
    }
    text = {"name": "TextTransformer", "context_length": 16, "vocab_size": 100, "width": 32, "num_layers": 2}
    assert isinstance(flat, DualEncoder)
    assert flat.spec == DualEncoder(16, image, {**text, "num_heads": 2}).spec


def test_folders_with_the_flat_spelling_are_still_read(tiny):
    spec = {**CLIP(**{key: value for key, value in tiny.items() if key != "name"}).spec, "architecture": tiny}
    assert ARCHITECTURES.build(architecture_from_spec(spec)).spec["architecture"]["name"] == "DualEncoder"


def test_activations_are_those_of_the_towers_that_have_a_choice():
    assert make("CLIP").activations == ("quick_gelu",)
    assert make("SigLIP").activations == ("gelu", "quick_gelu")
    assert make("ResNet", text=None).activations == ()


def test_state_dicts_of_another_activation_are_refused():
    weights = to_family(layer_arrays(make("CLIP")), "passl-2021")
    for tower in ("image", "text"):
        gelu = make("CLIP", **{tower: {**{"image": IMAGE, "text": TEXT}[tower], "activation": "gelu"}})
        with pytest.raises(UserError, match="trained with activation 'quick_gelu' and this model has"):
            gelu.set_state_dict(weights)
    assert make("CLIP").set_state_dict(weights).is_complete


# ---------------------------------------------------------------------------------------------------- configs


def test_configs_check_the_keys_of_towers_with_file_and_line(tmp_path):
    (tmp_path / "a.yaml").write_text(
        "architecture:\n"
        "  name: DualEncoder\n"
        "  embed_dim: 16\n"
        "  image: {name: VisionTransformer, image_size: 16, patch_size: 8, width: 16, num_layers: 1, num_heads: 2}\n"
        "  text:\n"
        "    name: TextTransformer\n"
        "    context_length: 6\n"
        "    vocab_size: many\n"
        "    width: 16\n"
        "    num_layer: 1\n"
        "    num_heads: 2\n"
    )
    with pytest.raises(ConfigError) as caught:
        build(Section, load_config(tmp_path / "a.yaml"))
    mistakes = "\n".join(caught.value.mistakes)
    assert "a.yaml:8: architecture.text.vocab_size: expected a whole number, not the text 'many'" in mistakes
    assert "a.yaml:10: architecture.text.num_layer: unknown key. Did you mean 'num_layers'?" in mistakes
    assert "architecture.text: the key 'num_layers' is missing" in mistakes


@pytest.mark.parametrize(
    "change, message",
    [
        ({"image": {**IMAGE, "patchsize": 8}}, "image.patchsize: unknown key. Did you mean 'patch_size'"),
        ({"text": {**TEXT, "pool": "first"}}, "text.pool: expected 'argmax', 'eos' or 'last'"),
        ({"image": {**IMAGE, "name": "ViT"}}, "image.name: there is no backbone named 'ViT'"),
        ({"tokenizer": {"name": "FileTokenizer", "clean": "no"}}, "tokenizer.clean: expected 'none'"),
        ({"image": {**IMAGE, "num_layers": 0}}, "num_layers is 0; it is at least 1"),
        ({"image": {**IMAGE, "mlp_width": 0}}, "mlp_width is 0; it is at least 1"),
        ({"text": {**TEXT, "width": 0}}, "width is 0; it is at least 1"),
        ({"text": None, "tokenizer": FILES}, "FileTokenizer is given and text is null"),
        ({"image_std": (0.5, 0.0, 0.5)}, "image_std"),
    ],
)
def test_python_gets_the_same_check(change, message):
    with pytest.raises(UserError, match=message):
        make("CLIP", **change)


# ---------------------------------------------------------------------------------------------------- folders


def test_a_folder_holds_weights_specification_and_vocabulary(tmp_path):
    model = make("CLIP")
    model.save_pretrained(tmp_path / "model")
    arrays, spec = read_model_folder(tmp_path / "model")
    assert spec == model.spec
    assert all(np.array_equal(value, arrays[name]) for name, value in layer_arrays(model).items())
    assert len(list((tmp_path / "model").iterdir())) == 4  # two files, the vocabulary and its licence


def test_a_model_of_images_is_saved_without_tokenizer(tmp_path):
    make("images alone").save_pretrained(tmp_path / "model")
    assert is_model_folder(tmp_path / "model") and len(list((tmp_path / "model").iterdir())) == 2


def test_a_tokenizer_whose_files_are_not_known_has_to_be_given(tmp_path):
    with pytest.raises(UserError, match=r"files are not known.*save_pretrained\(folder, tokenizer=...\)"):
        make("BERT").save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_the_tokenizers_folder_is_no_part_of_the_specification(tmp_path):
    model = make("BERT", tokenizer={**FILES, "folder": str(tmp_path)})
    assert model.tokenizer_folder == str(tmp_path)
    assert "folder" not in model.spec["tokenizer"]
    assert model.make_tokenizer().folder == str(tmp_path)


@pytest.mark.parametrize("length, message", [(6, "has name 'ClipTokenizer'"), (9, "has name")])
def test_another_models_tokenizer_is_not_saved(tmp_path, length, message):
    with pytest.raises(UserError, match=message):
        make("BERT").save_pretrained(tmp_path / "model", tokenizer=ClipTokenizer(context_length=length))


def test_a_tokenizer_of_other_rows_is_not_saved(tmp_path):
    with pytest.raises(UserError, match="has context_length 9 and this model was built for 6"):
        make("CLIP").save_pretrained(tmp_path / "model", tokenizer=ClipTokenizer(context_length=9))


# ---------------------------------------------------------------------------------------------------- shapes


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_are_those_of_the_model(kind):
    model = make(kind)
    assert shapes_of(node_of(kind)) == shapes(model)
    trained = {name: tuple(value.shape) for name, value in model.named_parameters() if not value.stop_gradient}
    assert shapes_of(node_of(kind), with_statistics=False) == trained


def test_shapes_of_the_largest_towers_need_no_memory():
    image = {**IMAGE, "image_size": 224, "patch_size": 14, "width": 1792, "num_layers": 56, "num_heads": 16}
    text = {**TEXT, "context_length": 77, "vocab_size": 901629, "width": 1280, "num_layers": 36, "num_heads": 20}
    node = {"name": "DualEncoder", "embed_dim": 1280, "image": {**image, "mlp_width": 15360}, "text": text}
    program = f"""
import math
from passl.modeling.architectures import shapes_of
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
before = peak()
print(sum(math.prod(shape) for shape in shapes_of({node!r}).values()), peak() - before)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    count, kilobytes = map(int, run.stdout.split()[-2:])
    assert count > 5e9 and kilobytes < 300_000  # 20 GB


# ---------------------------------------------------------------------------------------------------- towers


def test_embeddings_of_texts_do_not_depend_on_padding():
    for keys in ({"pad_id": 0}, {"pad_id": 1, "position_offset": 2}):
        tower = BACKBONES.build({**BERT, **keys}, 16)
        tower.eval()
        pad = keys["pad_id"]
        short, padded = (tower(paddle.to_tensor([[5, 7, 9, *rest]])) for rest in ([], [pad, pad, pad]))
        np.testing.assert_allclose(short.numpy(), padded.numpy(), atol=1e-5)


def test_a_row_of_padding_alone_stays_finite():
    tower = BACKBONES.build({**BERT, "pad_id": 1, "position_offset": 2}, 16)
    found = tower(paddle.to_tensor([[1, 1, 1, 1], [5, 7, 1, 1]]))
    found.sum().backward()
    assert bool(paddle.isfinite(found).all())
    assert all(bool(paddle.isfinite(value.grad).all()) for value in tower.parameters() if value.grad is not None)
