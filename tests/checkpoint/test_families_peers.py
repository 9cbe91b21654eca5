"""Tiny models of the real libraries: to ours and back, loaded strictly by the library itself, bit-equal."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from passl.checkpoint import from_family, read_weights, to_family, write_weights

pytestmark = pytest.mark.peers

spec = importlib.util.spec_from_file_location("library_models", Path(__file__).with_name("library_models.py"))
library = importlib.util.module_from_spec(spec)
spec.loader.exec_module(library)


def layout_of(kind):
    return "CustomTextCLIP" if kind.startswith("open_clip custom vit") else None


def disturbed(kind, seed):
    """A model whose every array is random, counters and temperature included."""
    import torch

    model, generator = library.build(kind), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.dtype.is_floating_point:
                value.copy_(torch.rand(value.shape, generator=generator))
    return model


@pytest.mark.parametrize("kind", library.KINDS)
def test_recorded_names_are_what_the_library_saves(kind):
    found = {name: list(array.shape) for name, array in library.saved(library.build(kind), kind).items()}
    assert found == json.loads(library.NAMES.read_text())[kind]


@pytest.mark.parametrize("kind", library.KINDS)
def test_library_loads_its_weights_strictly_after_the_way_there_and_back(kind, tmp_path):
    source, target = disturbed(kind, 1), disturbed(kind, 2)
    family = library.KINDS[kind][0]
    path = tmp_path / "a.safetensors"
    write_weights(path, from_family(library.saved(source, kind), family).arrays)
    theirs = to_family(from_family(read_weights(path)).arrays, family, layout=layout_of(kind))
    target = library.loaded(kind, target, theirs)
    wanted, found = source.state_dict(), target.state_dict()
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        if not name.endswith("num_batches_tracked"):
            assert np.array_equal(found[name].numpy(), value.numpy()), name


@pytest.mark.parametrize("image", [{"width": 64}, library.RESNET], ids=["vit", "resnet"])
def test_original_code_builds_its_model_from_our_weights(image, tmp_path):
    source = library.plain(image, {"width": 64})  # the original code's heads are 64 wide
    import torch
    from open_clip.openai import load_openai_model

    with torch.no_grad():
        for value in source.state_dict().values():
            value.copy_(value.half())  # its matrices are in half precision
    arrays = {name: value.numpy() for name, value in source.state_dict().items()}
    theirs = to_family(from_family(arrays, "openai").arrays, "openai")
    assert theirs.keys() == {name for name in arrays if not name.endswith("num_batches_tracked")}
    path = tmp_path / "weights.pt"
    torch.save({name: torch.from_numpy(np.array(array)) for name, array in theirs.items()}, path)
    found = load_openai_model(str(path), precision="fp32", device="cpu").state_dict()
    for name, array in theirs.items():
        assert np.array_equal(found[name].numpy(), array), name
