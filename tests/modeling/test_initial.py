"""New models start from the references' distributions (recorded from them by `record_parity.py`)."""

from __future__ import annotations

import math
import re
from collections import defaultdict

import numpy as np
import paddle
import pytest

from passl.modeling.architectures import CLIP
from passl.utils.registry import BACKBONES

# Both sides are samples: deviations of a difference beyond which chance is ruled out.
SIGMAS = 6 * math.sqrt(2)


TOWERS = [
    "layer scale image",
    "SigLIP image (timm)",
    "SigLIP 2 text (open_clip)",
    "BERT, pooler",
    "RoBERTa, mean",
]


def tower(node: dict) -> paddle.nn.Layer:
    return BACKBONES.build({key: value for key, value in node.items() if key != "output_dim"}, node["output_dim"])


@pytest.fixture(scope="module", params=["vit", "resnet", *TOWERS])
def compared(request, initial):
    """By name of a parameter: our array and the reference's [mean, deviation, largest]."""
    recorded = initial[request.param]
    paddle.seed(0)
    model = CLIP(**recorded["architecture"]) if "architecture" in recorded else tower(recorded["node"])
    ours = {name: value.numpy() for name, value in model.named_parameters() if not value.stop_gradient}
    assert ours.keys() == recorded["parameters"].keys()
    return {name: (ours[name], recorded["parameters"][name]) for name in ours}


def test_each_parameter_has_the_deviation_of_the_reference(compared):
    for name, (array, (_, deviation, _)) in compared.items():
        assert abs(array.std() - deviation) <= SIGMAS * deviation / math.sqrt(2 * array.size), name


def test_each_parameter_has_the_mean_of_the_reference(compared):
    for name, (array, (mean, deviation, _)) in compared.items():
        assert abs(array.mean() - mean) <= SIGMAS * deviation / math.sqrt(array.size) + 1e-4 * abs(mean), name


def test_each_group_has_the_deviation_of_the_reference_within_two_percent(compared):
    groups = defaultdict(list)
    for name, (array, (_, deviation, _)) in compared.items():
        groups[re.sub(r"\.\d+\.", ".*.", name)].append((array, deviation))
    checked = 0
    for name, members in groups.items():
        expected = math.sqrt(np.mean([deviation**2 for _, deviation in members]))
        found = math.sqrt(np.mean([array.var() for array, _ in members]))
        if expected > 0 and sum(array.size for array, _ in members) > 10_000:
            checked += 1
            assert abs(found / expected - 1) < 0.02, name
    assert checked >= 9


def test_large_parameters_have_the_shape_of_the_reference_distribution(compared):
    # The largest of many draws is √3 deviations away for a uniform distribution and more than 3 for a normal one.
    for name, (array, (_, deviation, largest)) in compared.items():
        if deviation > 0 and array.size > 5000:
            is_uniform = largest / deviation < 1.8
            assert (np.abs(array).max() / array.std() < 1.8) == is_uniform, name
