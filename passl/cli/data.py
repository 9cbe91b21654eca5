"""`passl data prepare NAME`: write a data set out in the layout that configs read."""

from __future__ import annotations

import argparse

from passl.utils.logging import get_logger

_ROOTS = {"digits": "data/digits", "food101": "data/FOOD101", "skimage-pairs": "data/skimage-pairs"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    prepare = actions.add_parser(
        "prepare", help="write a data set out in the layout that configs read", allow_abbrev=False
    )
    prepare.add_argument(
        "name",
        choices=sorted(_ROOTS),
        help="digits: scikit-learn's handwritten digits as pictures with captions; food101: captions from the official "
        "layout; skimage-pairs: scikit-image's pictures with descriptions",
    )
    prepare.add_argument("--root", metavar="DIR", help="the data set's folder; data/NAME by default")
    prepare.add_argument(
        "--mode",
        choices=("hardlink", "symlink", "copy"),
        default="hardlink",
        help="food101: how pictures get into captions/",
    )


def run(arguments: argparse.Namespace) -> int:
    """Prepares the data set; does nothing when it stands there already."""
    from passl.datasets import prepare

    root = arguments.root or _ROOTS[arguments.name]
    if arguments.name == "food101":
        prepare.prepare_food101(root, mode=arguments.mode)
    elif arguments.name == "digits":
        prepare.prepare_digits(root)
    else:
        prepare.prepare_skimage_pairs(root)
    get_logger().info("%s is ready", root)
    return 0
