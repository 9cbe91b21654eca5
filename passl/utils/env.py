"""What this machine and installation are, for `env.json`, checkpoints and `passl doctor`."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional

import passl
from passl.utils.cpu import configure_cpu, usable_cores

_PACKAGES = (
    "paddlepaddle",
    "paddlepaddle-gpu",
    "numpy",
    "pillow",
    "protobuf",
    "safetensors",
    "ftfy",
    "regex",
    "pyyaml",
    "scikit-learn",
    "scikit-image",
    "matplotlib",
)


def environment_report() -> Dict[str, Any]:
    """Versions, devices, cores, shared memory, CPU settings and the commit of a source checkout. Imports Paddle."""
    import paddle

    shared_memory = shutil.disk_usage("/dev/shm").free if os.path.isdir("/dev/shm") else None
    with_gpu = paddle.is_compiled_with_cuda()
    return {
        "passl": passl.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version for name in _PACKAGES if (version := package_version(name)) is not None},
        "gpus": [paddle.device.cuda.get_device_name(i) for i in range(paddle.device.cuda.device_count())]
        if with_gpu
        else [],
        "paddle_built_for_gpu": with_gpu,
        "cores": usable_cores(),
        "cpu_settings": configure_cpu(),
        "free_shared_memory_bytes": shared_memory,
    }


def package_version(name: str) -> Optional[str]:
    """The installed version of a package, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def known_bad_pairs(packages: Dict[str, str]) -> List[str]:
    """Combinations of installed versions that are known to fail, each with its remedy."""
    findings = []
    paddle = packages.get("paddlepaddle") or packages.get("paddlepaddle-gpu")
    if paddle is None:
        findings.append("no PaddlePaddle is installed; " + HOW_TO_INSTALL_PADDLE)
    if "paddlepaddle" in packages and "paddlepaddle-gpu" in packages:
        findings.append("paddlepaddle and paddlepaddle-gpu are both installed and overwrite each other; uninstall one")
    if paddle is not None and paddle.startswith("2."):
        if int(packages.get("numpy", "0").split(".")[0]) >= 2:
            findings.append(f"paddlepaddle {paddle} was built for numpy 1; pip install 'numpy<2'")
        if int(packages.get("protobuf", "0").split(".")[0]) >= 7:
            findings.append(
                f"paddlepaddle {paddle} fails with protobuf 7 in distributed settings; pip install 'protobuf<7'"
            )
        if sys.version_info >= (3, 13):
            findings.append(f"paddlepaddle {paddle} has no build for Python 3.13; use 3.12 or paddlepaddle 3")
    return findings


HOW_TO_INSTALL_PADDLE = (
    "install it with `pip install -r requirements-cpu.txt` (CPU) or `pip install -r requirements.txt` (GPU)"
)


def _commit() -> Optional[str]:
    """The commit of the source checkout that this package lies in, or None for an installed package."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists() or shutil.which("git") is None:
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None
