"""Our evaluation transform against open_clip's own, pixel for pixel."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from passl.datasets.preprocess.transforms import eval_transform
from passl.utils.constants import OPENAI_MEAN, OPENAI_STD

pytestmark = pytest.mark.peers

REFERENCE = Path(__file__).resolve().parents[1] / "modeling" / "reference.py"


@pytest.fixture(scope="module")
def open_clip():
    spec = importlib.util.spec_from_file_location("clip_reference", REFERENCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.import_open_clip()


@pytest.mark.parametrize(
    "size", [(300, 200), (200, 300), (640, 480), (224, 224), (100, 60), (1000, 750), (333, 500), (301, 225), (225, 449)]
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("resize_mode", ["shortest", "squash"])
def test_eval_transform_equals_that_of_open_clip(open_clip, size, mode, resize_mode):
    reference = open_clip.transform.image_transform(
        224, is_train=False, mean=OPENAI_MEAN, std=OPENAI_STD, resize_mode=resize_mode, interpolation="bicubic"
    )
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    image = Image.fromarray(values).convert(mode)
    specification = {"size": 224, "mean": OPENAI_MEAN, "std": OPENAI_STD, "interpolation": "bicubic"}
    ours = eval_transform({**specification, "resize_mode": resize_mode})(image)
    # The same level of 255 everywhere; only the last bit of the normalised float may differ.
    np.testing.assert_allclose(ours, reference(image).numpy(), atol=1e-6)
