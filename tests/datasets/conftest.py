"""Small trees of real files, and the project's messages."""

import logging

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def messages(caplog, monkeypatch):
    """What the project said, from level INFO on."""
    monkeypatch.setattr(logging.getLogger("passl"), "propagate", True)
    caplog.set_level(logging.INFO, "passl")
    return caplog


@pytest.fixture
def write_pairs():
    """`write_pairs(folder, count)` writes pictures `000.png`, ... of different noise, with two captions each."""

    def write(folder, count, size=8):
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            values = np.random.RandomState(number).randint(0, 256, (size, size, 3)).astype(np.uint8)
            Image.fromarray(values).save(folder / f"{number:03d}.png")
            (folder / f"{number:03d}.txt").write_text(f"number {number}\npicture {number}\n")
        return folder

    return write
