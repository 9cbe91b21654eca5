"""Training speed of ViT-B/32 on this machine's CPU, with passl's CPU settings and without.

Each setting runs in processes of its own, in turns, because the settings must be made before the first matrix product.
Prints one row per setting: median over the rounds, the ratio, and what they were measured on.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


def measure(batch_size: int, num_steps: int) -> float:
    """Pairs per second of whole training steps (forward, backward, update), the first step left out."""
    from passl.utils.cpu import configure_cpu

    configure_cpu()
    import numpy as np
    import paddle

    from passl.engine.step import TrainStep
    from passl.modeling.architectures import CLIPWrapper
    from passl.optim import AdamW

    architecture = dict(
        name="CLIP", embed_dim=512, image_resolution=224, vision_layers=12, vision_width=768, vision_patch_size=32
    )
    model = CLIPWrapper(architecture=architecture)
    step = TrainStep(model, AdamW(dict(model.named_parameters()), batch_size, lr=1e-4), "float32", seed=0)
    rng = np.random.default_rng(0)
    batch = {
        "image": paddle.to_tensor(rng.normal(size=(batch_size, 3, 224, 224)).astype("float32")),
        "text": paddle.to_tensor(rng.integers(1, 49408, size=(batch_size, 77))),
        "index": paddle.arange(batch_size),
    }
    step(0, [batch], 1e-4, stop_requested=False)
    started = time.perf_counter()
    for number in range(num_steps):
        step(1 + number, [batch], 1e-4, stop_requested=False)
    return batch_size * num_steps / (time.perf_counter() - started)


def measure_elsewhere(settings: str, batch_size: int, num_steps: int) -> float:
    """`measure` in a new process with PASSL_CPU_SETTINGS=`settings`."""
    command = [sys.executable, __file__, "--measure", "--batch-size", str(batch_size), "--steps", str(num_steps)]
    environment = {**os.environ, "PASSL_CPU_SETTINGS": settings}
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])


def main() -> None:
    """Alternates the two settings and prints the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=2, help="steps in each round, after one that is not counted")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.batch_size, arguments.steps)))
        return

    from passl.utils.env import environment_report

    rates = {"0": [], "1": []}
    for _ in range(arguments.rounds):
        for settings, measured in rates.items():
            measured.append(measure_elsewhere(settings, arguments.batch_size, arguments.steps))
    report = environment_report()
    print(
        f"# ViT-B/32, batch {arguments.batch_size}, 77 tokens, float32, {arguments.rounds} rounds of {arguments.steps} steps"
    )
    print(f"# commit {report['commit']}, paddle {report['packages'].get('paddlepaddle')}, {report['cores']} cores")
    without, with_settings = (statistics.median(rates[key]) for key in ("0", "1"))
    print(f"as installed       {without:6.2f} images/s")
    print(f"with CPU settings  {with_settings:6.2f} images/s   {with_settings / without:.1f}x")


if __name__ == "__main__":
    main()
