"""`passl doctor`: what a report of a problem should contain."""

from __future__ import annotations

import argparse
import json

from passl.utils.cpu import configure_cpu

# Below this much shared memory, tools that pass pictures through it fail with bus errors (ours does not use it).
_SMALL_SHARED_MEMORY = 512 * 2**20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Prints versions, devices, CPU settings and known problems; exits with 1 when there are problems."""
    configure_cpu()
    from passl.utils.env import environment_report, known_bad_pairs

    report = environment_report()
    problems = known_bad_pairs(report["packages"])
    if arguments.json:
        print(json.dumps({**report, "problems": problems}, indent=2))
        return 1 if problems else 0
    free = report["free_shared_memory_bytes"]
    rows = [
        ("passl", f"{report['passl']} ({report['commit'] or 'no source checkout'})"),
        ("python", f"{report['python']} on {report['platform']}"),
        *report["packages"].items(),
        (
            "GPUs",
            ", ".join(report["gpus"])
            or ("none found" if report["paddle_built_for_gpu"] else "none (Paddle for the CPU)"),
        ),
        ("cores", str(report["cores"])),
        *((f"CPU: {key}", value) for key, value in report["cpu_settings"].items()),
        ("shared memory", "none" if free is None else f"{free / 2**30:.1f} GiB free"),
    ]
    for name, value in rows:
        print(f"{name:22} {value}")
    if free is not None and free < _SMALL_SHARED_MEMORY:
        print("note: little shared memory; passl's own loaders do not use it, Paddle's default loader does")
    print("\n".join(f"problem: {problem}" for problem in problems) or "no known problems")
    return 1 if problems else 0
