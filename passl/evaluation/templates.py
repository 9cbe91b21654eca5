"""Prompt templates for zero-shot classification, with `{}` where the class name goes.

CLIP's own are the ones published with it for each data set; ImageNet's are the seven of its notebook that do nearly as
well as all eighty.
"""

from __future__ import annotations

import os
from typing import Dict, List, Sequence, Union

from passl.evaluation.named_lists import read_named_list
from passl.utils.errors import UserError

_CIFAR = [
    "a photo of a {}.",
    "a blurry photo of a {}.",
    "a black and white photo of a {}.",
    "a low contrast photo of a {}.",
    "a high contrast photo of a {}.",
    "a bad photo of a {}.",
    "a good photo of a {}.",
    "a photo of a small {}.",
    "a photo of a big {}.",
    "a photo of the {}.",
    "a blurry photo of the {}.",
    "a black and white photo of the {}.",
    "a low contrast photo of the {}.",
    "a high contrast photo of the {}.",
    "a bad photo of the {}.",
    "a good photo of the {}.",
    "a photo of the small {}.",
    "a photo of the big {}.",
]

TEMPLATES: Dict[str, List[str]] = {
    "plain": ["{}"],
    "photo": ["a photo of a {}."],
    "food101": ["a photo of {}, a type of food."],
    "cifar10": _CIFAR,
    "cifar100": _CIFAR,
    "imagenet": [
        "itap of a {}.",
        "a bad photo of the {}.",
        "a origami {}.",
        "a photo of the large {}.",
        "a {} in a video game.",
        "art of the {}.",
        "a photo of the small {}.",
    ],
    # Worded unlike the captions that the digits are trained with, so that the accuracy is that of the words alone.
    "digits": [
        "a picture of a {}.",
        "someone drew a {} with a pen.",
        "this says {}.",
        "here you can read {}.",
        "it looks like a {}.",
    ],
}


def get_templates(value: Union[str, os.PathLike[str], Sequence[str]]) -> List[str]:
    """The prompt templates that `value` stands for.

    Args:
        value: the name of a known set (`TEMPLATES`), a list of templates, or the path of a .txt file with one a line.

    Raises:
        UserError: an unknown name, an unreadable file, or a template without exactly one `{}`, with its file and line.

    Example:
        >>> get_templates("food101")
        ['a photo of {}, a type of food.']
    """
    if isinstance(value, str) and "{}" in value:
        raise UserError(f"templates are a list, also of one: write [{value!r}]")
    entries = read_named_list(value, TEMPLATES, "templates")
    for template, place in entries:
        count = template.count("{}")
        if count != 1:
            raise UserError(
                f"{place}: a template has exactly one {{}}, where the class name goes, "
                f"and {template!r} has {count or 'none'}"
            )
    return [template for template, _ in entries]
