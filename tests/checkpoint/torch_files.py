"""Files of PyTorch for the tests: real ones, recorded, and archives put together by hand.

    python tests/checkpoint/torch_files.py

in an environment with requirements-peers.txt writes the recorded ones anew, `files/torch-*`. All else here needs no
PyTorch.
"""

from __future__ import annotations

import io
import math
import struct
import warnings
import zipfile
from argparse import Namespace
from collections import Counter, OrderedDict
from pathlib import Path

import numpy as np

FILES = Path(__file__).parent / "files"

BASE = np.arange(24, dtype="float32").reshape(4, 6)
STATE_DICT = {
    "base": BASE,
    "row": BASE[2],
    "strided": BASE[1:, ::2],
    "transposed": BASE.T,
    "expanded": np.broadcast_to(np.float32(3), (2, 3)),
    "parameter": np.array([1.0, -2.5], "float32"),
    "scalar": np.array(4.5, "float32"),
    "none": np.zeros((0, 3), "float32"),
    "half": np.array([1.0, -2.5], "float16"),
    "brain": np.array([1.0, -2.5], "float32"),
    "brain_column": np.array([2.0, 8.0], "float32"),
    "double": np.array([0.1, 0.2], "float64"),
    "long": np.array([7, -(2**40)], "int64"),
    "int": np.array([-7], "int32"),
    "short": np.array([-7], "int16"),
    "char": np.array([-7], "int8"),
    "byte": np.array([200], "uint8"),
    "flag": np.array([True, False, True]),
    "unsigned": np.array([65535, 1], "uint16"),
    "complex": np.array([1 + 2j], "complex64"),
}
# What `state_dict()` of the model recorded as TorchScript gives.
SCRIPTED = {
    "positional_embedding": np.arange(6, dtype="float16").reshape(3, 2),
    "logit_scale": np.array(2.5, "float16"),
    "input_resolution": np.array(224),
    "context_length": np.array(77),
    "vocab_size": np.array(49408),
    "visual.proj": np.arange(4, dtype="float16").reshape(2, 2),
    "visual.ln_pre.weight": np.ones(2, "float16"),
    "visual.ln_pre.bias": np.zeros(2, "float16"),
    "transformer.0.weight": np.arange(4, dtype="float16").reshape(2, 2),
    "transformer.0.bias": np.zeros(2, "float16"),
    "transformer.1.weight": np.arange(4, dtype="float16").reshape(2, 2) + 1,
    "transformer.1.bias": np.zeros(2, "float16"),
}
EPOCH = {"epoch": 3, "name": "run", "best": 0.5}


# -- archives by hand


def archive(records, compression=zipfile.ZIP_STORED, root="archive"):
    """A zip archive of `records`, bytes by name below `root`."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as opened, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that stand twice
        for name, content in records.items() if isinstance(records, dict) else records:
            opened.writestr(zipfile.ZipInfo(f"{root}/{name}" if root else name), content, compression)
    return file.getvalue()


def state_dict_archive(pickled, **records):
    """An archive as torch.save writes it; `records` are the numbers by key, without "_" before it."""
    numbers = {f"data/{key[1:]}": content for key, content in records.items()}
    return archive({"data.pkl": pickled, "byteorder": b"little", **numbers, "version": b"3\n"})


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def text(value):
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def number(value):
    encoded = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
    return b"\x8a" + bytes([len(encoded)]) + encoded


def numbers(*values):
    return b"(" + b"".join(number(value) for value in values) + b"t"


def storage(count, key="0", kind="FloatStorage", module="torch", device="cpu"):
    return b"(" + text("storage") + name(module, kind) + text(key) + text(device) + number(count) + b"tQ"


def tensor(stored, shape, strides, offset=0, more=b""):
    build = name("torch._utils", "_rebuild_tensor_v2")
    hooks = name("collections", "OrderedDict") + b")R"
    return build + b"(" + stored + number(offset) + numbers(*shape) + numbers(*strides) + b"\x89" + hooks + more + b"tR"


def dictionary(**entries):
    return b"}(" + b"".join(text(key) + value for key, value in entries.items()) + b"u"


def pickled(value):
    return b"\x80\x02" + value + b"."


def weights_archive(arrays):
    """`arrays` of float32, dense, as an archive of torch.save."""
    entries, records = {}, {}
    for key, (label, array) in enumerate(arrays.items()):
        strides = [math.prod(array.shape[axis + 1 :]) for axis in range(array.ndim)]
        entries[label] = tensor(storage(array.size, str(key)), array.shape, strides)
        records[f"_{key}"] = array.astype("<f4").tobytes()
    return state_dict_archive(pickled(dictionary(**entries)), **records)


# -- real ones


def state_dict(torch):
    """STATE_DICT as tensors of PyTorch; the first ones are views of one storage."""
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    brain = torch.tensor([[1.0, 2.0], [4.0, 8.0]]).bfloat16()
    views = {"base": base, "row": base[2], "strided": base[1:, ::2], "transposed": base.t()}
    own = {name: torch.from_numpy(array.copy()) for name, array in STATE_DICT.items() if name not in views}
    own["expanded"] = torch.tensor(3.0).expand(2, 3)
    own["parameter"] = torch.nn.Parameter(own["parameter"])
    own["brain"] = own["brain"].bfloat16()
    own["brain_column"] = brain[:, 1]
    return OrderedDict({**views, **own})


def training_checkpoint(torch):
    """A dict as training programs save it, with the weights of a small model under `state_dict`."""
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.5)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.eye(2)).sum().backward()
    optimizer.step()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.5)
    beside = {
        "scaler": {"scale": 65536.0, "_growth_tracker": 0},
        "size": torch.Size([2, 3]),
        "dtype": torch.float16,
        "device": torch.device("cuda:0"),
        "args": Namespace(lr=1e-3, model="ViT-B-32"),
        "milestones": Counter([5, 5]),
        "best_numpy": np.float64(0.25),
        "random": torch.get_rng_state()[:4],
    }
    return {**EPOCH, "state_dict": model.state_dict(), "optimizer": optimizer.state_dict(), **beside}


def script_module(torch):
    """A model with the buffers and the precision of OpenAI's archives, and SCRIPTED as its state."""

    class Visual(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.proj = torch.nn.Parameter(torch.zeros(2, 2))
            self.ln_pre = torch.nn.LayerNorm(2)

        def forward(self, x):
            return self.ln_pre(x) @ self.proj

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.positional_embedding = torch.nn.Parameter(torch.zeros(3, 2))
            self.logit_scale = torch.nn.Parameter(torch.tensor(0.0))
            for key in ("input_resolution", "context_length", "vocab_size"):
                self.register_buffer(key, torch.tensor(int(SCRIPTED[key])))
            self.visual = Visual()
            self.transformer = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))

        def forward(self, x):
            return self.transformer(self.visual(x) + self.positional_embedding) * self.logit_scale.exp()

    model = Model().half().eval()
    model.load_state_dict({key: torch.from_numpy(np.asarray(array)) for key, array in SCRIPTED.items()})
    return model


def record():
    import torch

    version = ".".join(torch.__version__.split(".")[:2])
    torch.save(state_dict(torch), FILES / f"torch-{version}-state-dict.pt")
    torch.save(state_dict(torch), FILES / f"torch-{version}-state-dict-protocol-4.pt", pickle_protocol=4)
    torch.save(training_checkpoint(torch), FILES / f"torch-{version}-training.pt")
    torch.jit.save(torch.jit.script(script_module(torch)), FILES / f"torch-{version}-script.pt")
    traced = torch.jit.trace(script_module(torch), torch.ones(3, 2).half())
    torch.jit.save(traced, FILES / f"torch-{version}-trace.pt")
    small = {"weight": torch.ones(2)}
    torch.save(small, FILES / f"torch-{version}-before-1.6.pt", _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    record()
