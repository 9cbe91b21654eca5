"""Runs functions of this file in real processes: `results = run_processes("contrastive", 2, ...)`."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run_processes(function, num_processes, timeout=120, **arguments):
    """What `function(**arguments)` returned in each of `num_processes` gloo processes, in the order of ranks."""
    code = (
        "import sys; from passl.distributed.launch import launch; "
        f"sys.exit(launch([sys.executable, {str(Path(__file__))!r}, *sys.argv[1:]], {num_processes}, 'cpu'))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", code, function, json.dumps(arguments), folder],
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return [json.loads(Path(folder, str(rank)).read_text()) for rank in range(num_processes)]


def gather_and_reduce():
    """Collectives on small tensors; returns what this process saw."""
    import paddle

    from passl import distributed

    rank = distributed.rank()
    rows = paddle.to_tensor([[1.0 + rank, 2.0 + rank]], dtype="float64", stop_gradient=False)
    everything = distributed.all_gather_rows(rows)
    (everything * paddle.to_tensor([[1.0], [10.0]], dtype="float64") * (rank + 1)).sum().backward()
    parameter = paddle.create_parameter([], "float32")
    parameter.set_value(paddle.to_tensor(float(rank)))
    distributed.broadcast_tensors([parameter])
    gradients = [paddle.to_tensor([[1.0 + rank]]), paddle.to_tensor([2.0, 3.0]), paddle.to_tensor(4.0)]
    distributed.all_reduce_gradients(gradients)
    return {
        "gathered": everything.tolist(),
        "gradient": rows.grad.tolist(),
        "sum": float(distributed.all_reduce_sum(paddle.to_tensor(rank + 1.0))),
        "broadcast": float(parameter),
        "gradients": [gradient.tolist() for gradient in gradients],
        "objects": distributed.gather_objects({"rank": rank, "text": "é" * rank}),
    }


def wait_for_the_first(seconds):
    """Every process waits for the first, which comes late."""
    import time

    from passl import distributed

    time.sleep(seconds if distributed.rank() == 0 else 0)
    distributed.barrier()
    return distributed.gather_objects(distributed.rank())


def contrastive_gradients(cases, num_rows, local_negatives):
    """For each case (number format, temperature) the losses and all gradients of a small CLIP on this process's share."""
    if local_negatives:  # the control: what a loss that forgets the other processes would compute
        import passl.modeling.heads.clip_head as clip_head

        clip_head.all_gather_rows = lambda rows: rows
        clip_head.rank = lambda: 0
    return [_contrastive_gradients(dtype, logit_scale, num_rows) for dtype, logit_scale in cases]


def _contrastive_gradients(dtype, logit_scale, num_rows):
    import numpy as np
    import paddle

    from passl import distributed
    from passl.engine.step import TrainStep
    from passl.modeling.architectures import CLIPWrapper

    paddle.set_default_dtype(dtype)
    paddle.seed(0)
    architecture = dict(
        name="CLIP",
        embed_dim=16,
        image_resolution=16,
        vision_layers=2,
        vision_width=32,
        vision_patch_size=8,
        vision_heads=2,
        context_length=8,
        vocab_size=64,
        transformer_width=32,
        transformer_heads=2,
        transformer_layers=2,
    )
    model = CLIPWrapper(architecture=architecture, head={"name": "CLIPHead"})
    with paddle.no_grad():
        model.model.logit_scale.set_value(paddle.to_tensor(float(np.log(logit_scale)), dtype=dtype))
    rng = np.random.default_rng(0)
    image = rng.normal(size=(num_rows, 3, 16, 16)).astype(dtype)
    text = rng.integers(1, 64, size=(num_rows, 8)).astype("int64")
    size = num_rows // distributed.world_size()
    mine = slice(distributed.rank() * size, (distributed.rank() + 1) * size)
    batch = {"image": paddle.to_tensor(image[mine]), "text": paddle.to_tensor(text[mine]), "index": paddle.arange(size)}

    captured = {}

    class Recorder:
        parameters = dict(model.named_parameters())
        clip_grad_norm = None

        def step(self, lr):
            captured.update({name: p.grad.numpy() for name, p in self.parameters.items()})

    result = TrainStep(model, Recorder(), "float32", seed=0)(0, [batch], 0.0, False)
    flat = np.concatenate([captured[name].astype("float64").ravel() for name in sorted(captured)])
    return {"losses": result.losses, "gradient": flat.tolist()}


if __name__ == "__main__":
    from passl import distributed

    distributed.start("cpu")
    answer = globals()[sys.argv[1]](**json.loads(sys.argv[2]))
    Path(sys.argv[3], str(distributed.rank())).write_text(json.dumps(answer))
    distributed.finish()
