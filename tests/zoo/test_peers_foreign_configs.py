"""Our configs in the hands of transformers and open_clip: the objects that they build from them are those they had."""

from __future__ import annotations

import copy
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from passl.datasets.preprocess.transforms import eval_transform
from passl.zoo.foreign_configs import huggingface_files, node_from_open_clip, open_clip_from_node, read_foreign_spec
from passl.zoo.foreign_configs.images import huggingface_preprocessor, preprocessing_from_huggingface
from passl.zoo.foreign_configs.open_clip import tokenizer_from_open_clip
from passl.zoo.names import architecture_of, list_models
from passl.zoo.reading import spec_of

pytestmark = pytest.mark.peers
HERE = Path(__file__).parent


def beside(name):
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


record = beside("record_foreign_configs")
PREPROCESSING = {"size": 32, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.25]}


@pytest.fixture(scope="module")
def small_models():
    return record.small_models()


@pytest.mark.parametrize("name", json.loads(record.HUGGINGFACE.read_text(encoding="utf-8")))
def test_transformers_builds_the_same_model_from_our_config(tmp_path, small_models, name):
    import torch
    from transformers import AutoConfig

    model = small_models[name].eval()
    model.save_pretrained(tmp_path / "theirs")
    spec, _ = read_foreign_spec(tmp_path / "theirs")
    (tmp_path / "ours").mkdir()
    for file, content in huggingface_files(spec, spec["tokenizer"]).items():
        (tmp_path / "ours" / file).write_text(json.dumps(content))
    config = AutoConfig.from_pretrained(tmp_path / "ours")
    assert differences(model.config.to_dict(), config.to_dict()) == []
    again = type(model)(config).eval()
    again.load_state_dict(model.state_dict())
    inputs = {}
    if spec["architecture"]["image"] is not None:
        inputs["pixel_values"] = torch.rand(3, 3, 16, 16)
    if spec["architecture"]["text"] is not None:
        ids = torch.randint(3, 97, (3, spec["architecture"]["text"]["context_length"]))
        inputs["input_ids"] = torch.cat([ids[:, :-1], torch.full((3, 1), 97)], dim=1)
    with torch.no_grad():
        theirs, ours = model(**inputs), again(**inputs)
    compared = [key for key, value in theirs.items() if isinstance(value, torch.Tensor)]
    assert compared and all(torch.equal(theirs[key], ours[key]) for key in compared)


def differences(theirs, ours, path=""):
    """What differs between two configs, but for what no computation reads.

    Ids of marks count where a text tower of CLIP is read at one; the width of the embeddings counts where it stands
    above both towers.
    """
    idle = {"dtype", "_name_or_path", "transformers_version", "bos_token_id", "logit_bias_init_value"}
    idle |= set() if theirs.get("model_type") == "clip_text_model" else {"eos_token_id"}
    idle |= {"projection_dim"} if path or theirs["architectures"][0] in ("CLIPVisionModel", "CLIPTextModel") else set()
    idle |= {"logit_scale_init_value"} if theirs.get("model_type") == "siglip" else set()
    found = []
    for key in {*theirs, *ours} - idle:
        if isinstance(theirs.get(key), dict) and isinstance(ours.get(key), dict):
            found += differences(theirs[key], ours[key], f"{path}{key}.")
        elif theirs.get(key) != ours.get(key):
            found.append((path + key, theirs.get(key), ours.get(key)))
    return found


@pytest.mark.parametrize("has_siglip", [False, True])
@pytest.mark.parametrize("mode", ["shortest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_transformers_makes_the_same_pixels_from_our_config(tmp_path, mode, interpolation, has_siglip):
    record.import_transformers()
    from transformers import AutoImageProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    preprocessing = {**PREPROCESSING, "interpolation": interpolation, "resize_mode": mode}
    config = huggingface_preprocessor(preprocessing, has_siglip)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    is_siglip = config["image_processor_type"] == "SiglipImageProcessor"
    on_pillow = (SiglipImageProcessorPil if is_siglip else CLIPImageProcessorPil).from_pretrained(tmp_path)
    on_tensors = AutoImageProcessor.from_pretrained(tmp_path)
    rng = np.random.default_rng(0)
    for size in [(40, 60), (50, 35), (31, 47), (200, 100), (32, 32)]:
        # Smooth, because the filters of tensors ring up to a dozen grey levels apart from Pillow's on noise.
        coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        picture = coarse.resize(size[::-1], Image.Resampling.BICUBIC)
        ours = eval_transform(preprocessing)(picture)
        np.testing.assert_array_equal(np.asarray(on_pillow(picture)["pixel_values"][0]), ours)
        one_level = 1 / 255 / min(preprocessing["std"])
        assert np.abs(np.asarray(on_tensors(picture)["pixel_values"][0]) - ours).max() < 1.01 * one_level
    on_tensors.save_pretrained(tmp_path / "saved")
    saved = json.loads((tmp_path / "saved" / "preprocessor_config.json").read_text())
    assert preprocessing_from_huggingface(saved, "ViT", 32) == preprocessing


@pytest.mark.parametrize("name", ["CLIPImageProcessor", "SiglipImageProcessor", "ViTImageProcessor"])
def test_the_defaults_of_processors_are_those_of_transformers(name):
    defaults = getattr(record.import_transformers(), name)().to_dict()
    written = preprocessing_from_huggingface(json.loads(json.dumps(defaults)), "CLIP", 224)
    assert preprocessing_from_huggingface({"image_processor_type": name}, "CLIP", 224) == written


def model_configs():
    folder = Path(beside("open_clip_models").import_open_clip().__file__).parent / "model_configs"
    return {file.stem: json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))}


def test_every_config_of_open_clip_is_the_model_of_its_name():
    configs = model_configs()
    for name in list_models():
        node = node_from_open_clip(configs[name])
        assert node == spec_of(architecture_of(name))["architecture"], name
        assert node_from_open_clip(open_clip_from_node(node, tokenizer_from_open_clip(configs[name]))) == node, name


@pytest.mark.parametrize("name", record.NAMES)
def test_open_clip_builds_the_same_arrays_from_our_config(monkeypatch, name):
    open_clip_models = beside("open_clip_models")
    open_clip = open_clip_models.import_open_clip()
    theirs = model_configs()[name]
    ours = open_clip_from_node(node_from_open_clip(theirs), tokenizer_from_open_clip(theirs))
    shapes = []
    for config in (theirs, ours):
        monkeypatch.setattr(open_clip, "get_model_config", lambda _, config=config: copy.deepcopy(config))
        model = open_clip_models.build(name, num_layers=None, device="meta")
        shapes.append({key: tuple(value.shape) for key, value in model.state_dict().items()})
    assert shapes[0] == shapes[1]
