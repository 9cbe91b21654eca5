"""Writes docs/models.md from the named models and from what tools/measure_parity.py measured. `--check` only compares."""

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from passl.zoo import list_models
from passl.zoo.overview import overview
from passl.zoo.sizes import IMAGES, MISSING, TOKENIZERS

PAGE = ROOT / "docs" / "models.md"
PARITY = ROOT / "docs" / "parity.json"

TOP = """# Models

The names are those of open_clip 3.3.0, and each stands for the same network there and here: of the {total} it lists,
{here} are here. OpenAI's own spelling (`ViT-B/32`, `ViT-B/16`, `ViT-L/14`, `ViT-L/14@336px`) stands for the name that
ends in `-quickgelu`. `passl models` lists the names, `passl models --long` with sizes.

- **Parameters** in millions: the whole model, its image tower and its text tower.
- **Input**: side of the pictures and the most tokens of a text.
- **Activation** belongs to the weights. `ViT-B-32` and `ViT-B-32-quickgelu` differ in nothing else.
- **Tokenizer**: [below](#tokenizers). **Pictures**: how they are prepared, [below](#pictures);
  [published weights](weights.md) can say otherwise.
- **Error**: the largest absolute difference from open_clip, measured with the same random weights (moved off their
  initial values) through the converter, in float32 on the CPU: of normalised image features, of normalised text
  features, and of logits, whose scale was 14. "Two layers" means real widths and two blocks in each transformer.{versions}
"""

TOKENIZER_TEXT = """## Tokenizers

The vocabulary of CLIP is part of passl. The files of the others are those that the Hugging Face hub has under the name
in `source`; `passl.get_tokenizer` fetches them, or takes them from the `folder` it is given.
"""


def main() -> int:
    """Writes the page, or says whether it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the page is out of date")
    arguments = parser.parse_args()
    text = render(json.loads(PARITY.read_text(encoding="utf-8")) if PARITY.exists() else {})
    if not arguments.check:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        print("docs/models.md is out of date: run python tools/make_model_docs.py", file=sys.stderr)
        return 1
    return 0


def render(parity: dict) -> str:
    """The page."""
    names = list_models()
    total = len(names) + sum(len(family.names) for family in MISSING)
    versions = sorted({row["versions"] for row in parity.values()})
    measured = f"\n  Measured with {'; '.join(versions)}." if versions else ""
    models = [_model_row(name, parity.get(name)) for name in names]
    parts = [
        TOP.format(total=total, here=len(names), versions=measured),
        _table(
            ["name", "parameters", "image", "text", "input", "activation", "tokenizer", "pictures", "error"], models
        ),
        TOKENIZER_TEXT,
        _table(["tokenizer", "class", "settings"], [_tokenizer_row(name) for name in TOKENIZERS]),
        "## Pictures\n",
        _table(["pictures", "mean", "deviation", "interpolation", "resizing"], [_images_row(name) for name in IMAGES]),
        "## Not here yet\n\nNames of open_clip for which a block is missing; asking for one says so.\n",
        _table(["family", "needs", "names"], [_missing_row(family) for family in MISSING]),
    ]
    return "\n".join(parts)


def _table(head: list, rows: list) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _model_row(name: str, measured: dict) -> list:
    model = overview(name)
    counts = (model.parameters, model.image_parameters, model.text_parameters)
    return [
        f"`{name}`",
        *(f"{count / 1e6:.2f}" for count in counts),
        f"{model.image_size}, {model.context_length}",
        model.activation,
        model.vocabulary,
        model.images,
        _error(measured) if measured else "not measured",
    ]


def _error(measured: dict) -> str:
    numbers = ", ".join(f"{measured[key]:.1e}" for key in ("image", "text", "logits"))
    notes = [measured["layers"]] if measured["layers"] != "full" else []
    notes += [f"{measured['vocabulary']} ids"] if "vocabulary" in measured else []
    return f"{numbers} ({', '.join(notes)})" if notes else numbers


def _tokenizer_row(name: str) -> list:
    settings = {key: value for key, value in TOKENIZERS[name].items() if key != "name"}
    said = ", ".join(f"`{key}: {json.dumps(value)}`" for key, value in settings.items())
    return [name, f"`{TOKENIZERS[name]['name']}`", said or "-"]


def _images_row(name: str) -> list:
    mean, std, interpolation, resize_mode = IMAGES[name]
    return [name, *(", ".join(map(str, colours)) for colours in (mean, std)), interpolation, resize_mode]


def _missing_row(family) -> list:
    return [family.title, family.needs, ", ".join(f"`{name}`" for name in family.names)]


if __name__ == "__main__":
    sys.exit(main())
