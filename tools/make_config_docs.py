"""Writes docs/configs.md from the signatures and docstrings of everything a config can name. `--check` only compares."""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from passl.cli.train import register_everything
from passl.config.reference import render
from passl.engine.run_config import RunConfig
from passl.utils import registry

PAGE = ROOT / "docs" / "configs.md"


def main() -> int:
    """Writes the page, or says whether it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the page is out of date")
    arguments = parser.parse_args()
    register_everything()
    text = render(
        RunConfig,
        [
            registry.MODELS,
            registry.ARCHITECTURES,
            registry.BACKBONES,
            registry.TOKENIZERS,
            registry.HEADS,
            registry.DATASETS,
            registry.TRANSFORMS,
            registry.OPTIMIZERS,
            registry.SCHEDULES,
            registry.EVALUATORS,
        ],
    )
    if not arguments.check:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        print("docs/configs.md is out of date: run python tools/make_config_docs.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
