"""Our evaluation transform against the reference's, where both round crops alike."""

import numpy as np
import pytest
from PIL import Image

from passl.datasets.preprocess.transforms import eval_transform
from passl.utils.constants import OPENAI_MEAN, OPENAI_STD

pytestmark = pytest.mark.peers


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (640, 480), (224, 224), (100, 60), (1000, 750)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_eval_transform_equals_the_clip_processor_of_transformers(size, mode):
    module = pytest.importorskip("transformers.models.clip.image_processing_pil_clip")
    reference = module.CLIPImageProcessorPil(
        size={"shortest_edge": 224},
        crop_size={"height": 224, "width": 224},
        image_mean=OPENAI_MEAN,
        image_std=OPENAI_STD,
        resample=Image.Resampling.BICUBIC,
    )
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    image = Image.fromarray(values).convert(mode)
    ours = eval_transform(
        {"size": 224, "mean": OPENAI_MEAN, "std": OPENAI_STD, "interpolation": "bicubic", "resize_mode": "shortest"}
    )(image)
    theirs = np.asarray(reference(image, return_tensors="np")["pixel_values"][0])
    # Equal in every level of 255; they fold scaling and normalisation into other roundings.
    levels = np.array(OPENAI_STD).reshape(-1, 1, 1) * 255
    assert np.abs((ours - theirs) * levels).max() < 1e-3
