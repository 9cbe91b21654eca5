"""PyTorch's files as the installed PyTorch, open_clip and transformers write them, read against those libraries."""

import sys
from pathlib import Path

import numpy as np
import pytest

from passl.checkpoint import read_metadata, read_weights, write_weights
from passl.utils.errors import UserError

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "modeling"))

import torch_files
from reference import import_open_clip

pytestmark = pytest.mark.peers


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def as_numpy(tensor, torch):
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def assert_same(found, state, torch):
    assert set(found) == set(state)
    for name, tensor in state.items():
        expected = as_numpy(tensor, torch)
        assert found[name].dtype == expected.dtype and found[name].shape == expected.shape, name
        np.testing.assert_array_equal(found[name], expected)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_state_dict_reads(torch, tmp_path, protocol):
    state = torch_files.state_dict(torch)
    torch.save(state, tmp_path / "a.pt", pickle_protocol=protocol)
    assert_same(read_weights(tmp_path / "a.pt"), state, torch)


def test_recorded_files_are_what_pytorch_reads(torch):
    state = torch.load(torch_files.FILES / "torch-2.13-state-dict.pt", weights_only=True)
    assert_same(torch_files.STATE_DICT, state, torch)
    state = torch.jit.load(str(torch_files.FILES / "torch-2.13-script.pt")).state_dict()
    assert_same(torch_files.SCRIPTED, state, torch)


def test_archives_put_together_by_hand_are_read_by_pytorch(torch, tmp_path):
    arrays = {"a": np.arange(6, dtype="float32").reshape(2, 3), "b": np.ones(2, "float32")}
    (tmp_path / "a.pt").write_bytes(torch_files.weights_archive(arrays))
    assert_same(arrays, torch.load(tmp_path / "a.pt", weights_only=True), torch)


def test_every_optimizer_and_schedule_reads(torch, tmp_path):
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.LSTM(4, 4))
    for name in ("SGD", "Adam", "AdamW", "Adagrad", "RMSprop", "NAdam", "RAdam"):
        layers = model[:2]
        optimizer = getattr(torch.optim, name)(layers.parameters(), lr=0.1)
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 2, 5])
        layers(torch.randn(2, 3, 8, 8)).sum().backward()
        optimizer.step()
        schedule.step()
        states = {"optimizer": optimizer.state_dict(), "scheduler": schedule.state_dict(), "epoch": 2}
        torch.save({"state_dict": model.state_dict(), **states}, tmp_path / "a.pt")
        assert_same(read_weights(tmp_path / "a.pt"), model.state_dict(), torch)
        assert read_metadata(tmp_path / "a.pt")["epoch"] == 2


@pytest.mark.parametrize("how", ["script", "trace"])
def test_torchscript_of_the_installed_version_reads(torch, tmp_path, how):
    model = torch_files.script_module(torch)
    made = torch.jit.script(model) if how == "script" else torch.jit.trace(model, torch.ones(3, 2).half())
    torch.jit.save(made, tmp_path / "a.pt")
    assert_same(read_weights(tmp_path / "a.pt"), model.state_dict(), torch)


def test_file_without_checksums_reads(torch, tmp_path):
    state = torch_files.state_dict(torch)
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(state, tmp_path / "a.pt")
    finally:
        torch.serialization.set_crc32_options(before)
    assert_same(read_weights(tmp_path / "a.pt"), state, torch)


def test_file_of_the_old_form_is_refused(torch, tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(UserError, match="before version 1.6"):
        read_weights(tmp_path / "a.pt")


def test_sharded_folders_of_transformers_read(torch, tmp_path):
    import_open_clip()  # which makes transformers' models loadable beside any torchvision
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**sizes, "vocab_size": 100, "max_position_embeddings": 16}
    config = transformers.CLIPConfig(text_config=text, vision_config={**sizes, "image_size": 32, "patch_size": 8})
    model = transformers.CLIPModel(config)
    model.save_pretrained(tmp_path / "whole")
    model.save_pretrained(tmp_path / "shards", max_shard_size="50KB")
    state = model.state_dict()
    for folder in ("whole", "shards"):
        found = read_weights(tmp_path / folder)
        assert found.keys() <= state.keys()
        assert_same(found, {name: state[name] for name in found}, torch)
    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 2
    assert read_metadata(tmp_path / "shards")["container"] == "shards"


def test_training_checkpoint_of_open_clip_reads(torch, tmp_path):
    model = torch.nn.Linear(2, 2)
    scaler = torch.amp.GradScaler("cpu")
    optimizer = torch.optim.AdamW(model.parameters())
    state = {"module." + name: value for name, value in model.state_dict().items()}
    torch.save(
        {
            "epoch": 1,
            "name": "run",
            "state_dict": state,
            "optimizer": optimizer.state_dict(),
            "scaler": scaler.state_dict(),
        },
        tmp_path / "epoch_1.pt",
    )
    assert_same(read_weights(tmp_path / "epoch_1.pt"), state, torch)
    assert read_metadata(tmp_path / "epoch_1.pt")["name"] == "run"


def test_mapped_arrays_are_written_and_loaded_by_pytorch(torch, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    state = {name: tensor for name, tensor in torch_files.state_dict(torch).items() if tensor.numel()}
    del state["complex"]
    torch.save(state, tmp_path / "a.pt")
    write_weights(tmp_path / "a.safetensors", read_weights(tmp_path / "a.pt"))
    found = safetensors.load_file(tmp_path / "a.safetensors")
    assert_same({name: tensor.numpy() for name, tensor in found.items()}, state, torch)
