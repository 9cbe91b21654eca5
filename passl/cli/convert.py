"""`passl convert` and `tools/convert.py`: weights of one toolkit in the form of another."""

from __future__ import annotations

import argparse
from typing import Optional, Sequence

from passl.checkpoint import FAMILIES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    families = ", ".join(FAMILIES)
    parser.add_argument("source", metavar="SOURCE", help="a weight file or a folder, of any family")
    parser.add_argument(
        "target", metavar="TARGET", help="what to write: NAME.safetensors, NAME.pdparams, or a folder (no ending)"
    )
    parser.add_argument(
        "--from",
        dest="from_family",
        metavar="FAMILY",
        help=f"layout of SOURCE; recognised unless given. One of {families}",
    )
    parser.add_argument("--to", metavar="FAMILY", help="layout of TARGET; passl unless given")
    parser.add_argument(
        "--model", metavar="NAME", help="name of the model (`passl models`), where SOURCE does not tell"
    )
    parser.add_argument(
        "--tokenizer",
        metavar="FOLDER",
        help="the tokenizer's files, if it is not CLIP's and they are not beside SOURCE",
    )
    parser.add_argument("--verify", action="store_true", help="compare the outputs before and after on random input")
    parser.add_argument("--force", action="store_true", help="replace TARGET if it is there")


def run(arguments: argparse.Namespace) -> int:
    """Converts, and says what was read, what was written and how far the outputs differ."""
    from passl.zoo.conversion import convert
    from passl.zoo.reading import said_activation

    done = convert(
        arguments.source,
        arguments.target,
        from_family=arguments.from_family,
        to=arguments.to,
        model=arguments.model,
        tokenizer=arguments.tokenizer,
        verify=arguments.verify,
        force=arguments.force,
    )
    origin = done.family if done.is_certain else f"{done.family} (or openai: their names are the same)"
    print(f"read      {arguments.source}: {done.num_arrays} arrays, {done.num_bytes / 1e6:.1f} MB, layout {origin}")
    print(f"model     activation {said_activation(done.spec)}, by {done.said_by}")
    if done.dropped:
        print(f"left out  {len(done.dropped)} buffers that hold nothing learned: {_listed(done.dropped)}")
    print(f"wrote     {arguments.target}: layout {done.to}")
    if arguments.target.endswith(".pdparams"):
        print("note      a .pdparams file says nothing of its model: load it into the model named above, and no other")
    if done.agreement is not None:
        print(f"verified  before: {done.agreement.before}; after: {done.agreement.after}")
        figures = {name: getattr(done.agreement, name) for name in ("image", "text", "logits")}
        print("          largest difference: " + ", ".join(f"{name} {_said(value)}" for name, value in figures.items()))
    return 0


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _said(value: Optional[float]) -> str:
    return "none (no such tower)" if value is None else f"{value:.1e}"
