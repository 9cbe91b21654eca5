"""Installation of passl. Neither build of Paddle is forced: `pip install passl[cpu]` or `passl[gpu]` brings one along."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def requirements(name):
    lines = (line.split("#")[0].strip() for line in (ROOT / name).read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("-r")]


common, cpu, gpu = map(requirements, ("requirements-common.txt", "requirements-cpu.txt", "requirements.txt"))
version = re.search(r'__version__ = "(.+)"', (ROOT / "passl/__init__.py").read_text(encoding="utf-8")).group(1)

setup(
    name="passl",
    version=version,
    description="Train, fine-tune, evaluate and use CLIP and its relatives with PaddlePaddle",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.9",
    packages=find_packages(include=["passl", "passl.*"]),
    package_data={"passl.tokenizers": ["*.gz", "*LICENSE*"]},
    install_requires=common,
    extras_require={
        "cpu": cpu,
        "gpu": gpu,
        "dev": requirements("requirements-dev.txt"),
    },
    entry_points={"console_scripts": ["passl = passl.cli.main:main"]},
)
