"""Every kind of tower gives what the reference's gave for the same weights (recorded by `record_parity.py`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

import numpy as np
import paddle
import pytest

from passl.checkpoint import load_into
from passl.modeling import backbones  # noqa: F401 (registers them)
from passl.utils.registry import BACKBONES

TOLERANCE = 1e-5

with np.load(Path(__file__).parent / "golden" / "towers.npz") as _file:
    KINDS = sorted({key.partition("/")[0] for key in _file.files})

# What the recording must be able to tell apart: a key of a node, and a value that computes something else.
OTHERWISE = [
    ("CLIPA image", {"pool": "token"}),
    ("CLIPA image", {"activation": "gelu_tanh"}),
    ("SigLIP image (timm)", {"activation": "gelu_tanh"}),
    ("SigLIP image (timm)", {"norm_epsilon": 1e-5}),
    ("SigLIP image (transformers)", {"activation": "gelu"}),
    ("CLIPA text", {"is_causal": True}),
    ("CLIPA text", {"pool": "argmax"}),
    ("text read at an end mark", {"pool": "last", "eos_id": None}),
    ("text read at an end mark", {"eos_id": 3}),
    ("SigLIP 2 text (open_clip)", {"activation": "gelu"}),
    ("SigLIP 2 text (open_clip)", {"norm_epsilon": 1e-5}),
    ("BERT, pooler", {"norm_epsilon": 1e-5}),
    ("BERT, mean", {"pool": "token"}),
    ("BERT, mean", {"pad_id": 39}),
    ("RoBERTa, mean", {"position_offset": 0}),
    ("RoBERTa, mean", {"pad_id": 39}),
    ("XLM-RoBERTa, first token", {"position_offset": 1}),
]


def embed(record: Dict[str, Any], **changes: Any) -> np.ndarray:
    """What our tower of the recorded node, with `changes`, makes of the recorded input."""
    tower = BACKBONES.build({**record["node"], **changes}, record["output_dim"])
    load_into(tower, record["weights"])
    tower.eval()
    given = record["input"]
    with paddle.no_grad():
        return tower(paddle.to_tensor(given.astype("float32") if given.dtype.kind == "f" else given)).numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_equal_the_reference(recorded_tower, kind):
    record = recorded_tower(kind)
    expected = record["output"]
    assert np.abs(expected).max() > 0.05  # there is something to compare
    assert np.abs(embed(record) - expected).max() <= TOLERANCE * max(1, np.abs(expected).max())


@pytest.mark.parametrize("kind, change", OTHERWISE)
def test_the_recording_tells_other_choices_apart(recorded_tower, kind, change):
    record = recorded_tower(kind)
    assert np.abs(embed(record, **change) - record["output"]).max() > 10 * TOLERANCE * np.abs(record["output"]).max()


@pytest.mark.parametrize("kind", ["SigLIP image (timm)", "ViT with pooler", "RoBERTa, mean"])
def test_static_graphs_compute_the_same(recorded_tower, kind, tmp_path):
    record = recorded_tower(kind)
    tower = BACKBONES.build(record["node"], record["output_dim"])
    load_into(tower, record["weights"])
    tower.eval()
    given = record["input"].astype("float32" if record["input"].dtype.kind == "f" else "int64")
    spec = paddle.static.InputSpec([None, *given.shape[1:]], given.dtype.name)
    paddle.jit.save(paddle.jit.to_static(tower, input_spec=[spec], full_graph=True), str(tmp_path / "tower"))
    with paddle.no_grad():
        found = paddle.jit.load(str(tmp_path / "tower"))(paddle.to_tensor(given)).numpy()
    np.testing.assert_allclose(found, record["output"], atol=TOLERANCE * max(1, np.abs(record["output"]).max()))
