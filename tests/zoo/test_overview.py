from __future__ import annotations

import pytest

from passl.cli.main import main
from passl.zoo.overview import overview


@pytest.mark.parametrize(
    "name, activation, vocabulary, images",
    [
        ("RN50-quickgelu", "quick_gelu", "clip", "openai"),
        ("roberta-ViT-B-32", "quick_gelu (image), gelu (text)", "roberta-base", "openai"),
        ("ViT-H-14-378", "gelu", "clip", "openai squashed"),
        ("ViT-L-14-CLIPA", "gelu", "bert-base-uncased", "clipa"),
        ("ViT-B-32-SigLIP2-256", "gelu_tanh", "siglip2", "siglip"),
    ],
)
def test_overview_says_what_belongs_to_the_weights(name, activation, vocabulary, images):
    model = overview(name)
    assert (model.activation, model.vocabulary, model.images) == (activation, vocabulary, images)


def test_long_list_has_a_line_per_model_below_its_headings(capsys):
    assert main(["models", "RN50-*", "--long"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "parameters", "pixels", "tokens", "activation", "tokenizer", "pictures"]
    assert [row.split() for row in rows] == [
        ["RN50-quickgelu", "102.0", "M", "224", "77", "quick_gelu", "clip", "openai"]
    ]


def test_pattern_of_a_model_that_is_missing_is_refused_with_the_page_that_lists_it(capsys):
    assert main(["models", "coca*"]) == 1
    assert "docs/models.md also those of open_clip that are not here yet" in capsys.readouterr().err
