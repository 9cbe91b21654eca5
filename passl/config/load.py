"""A config from its file, the files it builds on, and the overrides of the command line.

A later word wins: base files in the order of `_base_`, then the file itself, then the overrides. Mappings are merged
key by key; lists and scalars are replaced. A mapping whose `name` differs from that of the mapping below replaces it
whole: the arguments of one class say nothing about another.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Iterable, List, Tuple, Union

from passl.config.node import Items, Node, Spot
from passl.config.reader import read_file, read_text
from passl.config.schema import fit

BASE = "_base_"


class _Steps(Node):
    """A mapping spelled by the dots of an override: laid over a list, its keys are positions."""


def load_config(path: Union[str, os.PathLike[str]], overrides: Iterable[str] = ()) -> Node:
    """Reads a config file with all it builds on; nothing is checked yet but the syntax.

    Args:
        path: the YAML file. Its `_base_` names one file or a list of files, relative to its own folder.
        overrides: `key.sub=value` each, as given with `-o`; positions of lists are numbers, values are YAML.
    """
    config = _Reader().read(Path(path), Spot(), ())
    steps: Any = _Steps()
    for override in overrides:
        # Collected first and laid over the config together, so that the order of `name` and its arguments is free.
        steps = merge(steps, _read_override(override), Spot())
    return merge(config, steps, Spot())


def merge(base: Any, over: Any, spot: Spot) -> Any:
    """`over` laid on `base`, as a new value; neither is changed. Places come from where each value stands."""
    if isinstance(base, Items) and isinstance(over, _Steps):
        return _replace_items(base, over, spot)
    if not isinstance(base, Node) or not isinstance(over, Node) or _has_other_name(base, over):
        return over
    merged = type(base)(base, base.place if isinstance(over, _Steps) else over.place, base.places)
    for key, value in over.items():
        merged[key] = merge(base[key], value, spot.inside(over, key)) if key in base else value
        _set_place(merged, key, over, key)
    return merged


def _has_other_name(base: Node, over: Node) -> bool:
    return "name" in base and "name" in over and base["name"] != over["name"]


def _replace_items(base: Items, over: _Steps, spot: Spot) -> Items:
    merged = Items(base, base.place, base.places)
    for key, value in over.items():
        if key not in map(str, range(len(base))):
            raise spot.inside(over, key).error(f"{key!r} is not a position in this list; accepted: {_positions(base)}")
        position = int(key)
        merged[position] = merge(base[position], value, spot.inside(over, key))
        _set_place(merged, position, over, key)
    return merged


def _set_place(merged: Union[Node, Items], at: Any, over: Node, key: str) -> None:
    """`merged[at]` stands where `over[key]` does, unless it is a section into which an override only reaches."""
    if merged[at] is over[key] or not isinstance(over, _Steps):
        merged.places[at] = over.where(key)


def _positions(items: Items) -> str:
    return f"0 to {len(items) - 1}" if items else "none, it is empty"


def _read_override(override: str) -> _Steps:
    place = f"-o {override}"
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise Spot(place).error("an override is written key.sub=value, as in optimizer.lr=1e-4")
    if not text.strip():
        raise Spot(place, path).error("there is no value after '='; write null for none, '' for an empty text")
    value = read_text(text, lambda _: place)
    for key in reversed(keys):
        value = _Steps({key: value}, place, {key: place})
    return value


class _Reader:
    """Reads a file and its bases, each file once."""

    def __init__(self) -> None:
        self._read: dict[str, Node] = {}

    def read(self, path: Path, asked_at: Spot, readers: Tuple[Path, ...]) -> Node:
        """`readers` are the files that led here, from the first on."""
        file = os.path.realpath(path)
        if file in map(os.path.realpath, readers):
            raise asked_at.error(f"files build on each other in a circle: {' -> '.join(map(str, [*readers, path]))}")
        if file not in self._read:
            self._read[file] = self._read_with_bases(path, asked_at, (*readers, path))
        return self._read[file]

    def _read_with_bases(self, path: Path, asked_at: Spot, readers: Tuple[Path, ...]) -> Node:
        node = read_file(path, asked_at)
        if node is None:
            raise Spot(str(path)).error("the file is empty; a config is a mapping of sections such as 'model:'")
        if not isinstance(node, Node):
            raise Spot(f"{path}:1").error("a config is a mapping of sections such as 'model:', not a list or one value")
        spot = Spot(node.where(BASE), BASE)
        bases = fit(Union[str, List[str]], node.pop(BASE, []), spot)
        merged = Node()
        for base in [bases] if isinstance(bases, str) else bases:
            merged = merge(merged, self.read(path.parent / base, spot, readers), Spot())
        return merge(merged, node, Spot())
