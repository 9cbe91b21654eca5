"""YAML text to nodes: the plain part of YAML, with lines, within limits, and without its surprises.

Read are mappings, lists, text, numbers, `true`/`false` and `null`. `1e-6` is a number; `yes`, `no`, `on`, `off`,
dates and `12:30` are text. Refused are duplicate keys, keys that are not text, tags, merge keys, and whatever is too
large to be a config.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Callable

import yaml

from passl.config.node import ConfigError, Items, Node, Spot
from passl.utils.registry import nearest

MAX_BYTES = 1 << 20
MAX_VALUES = 10_000  # every alias counts as often as it is used, so a few lines cannot stand for millions
MAX_DEPTH = 50
MAX_NAMES_LISTED = 10

_INTEGER = re.compile(r"[-+]?[0-9]{1,100}")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


def read_file(path: Path, asked_at: Spot = Spot()) -> Any:  # noqa: B008
    """The content of a YAML file. `asked_at` is what named the file, for the message if there is none."""
    try:
        if not path.exists():
            raise asked_at.error(_missing(path))
        if not path.is_file():
            raise asked_at.error(f"{path} is not a file")
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise asked_at.error(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise Spot(str(path)).error(f"the file is larger than a config may be ({MAX_BYTES} bytes)")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Spot(f"{path}:{line}").error("the file is not UTF-8 text; save it with that encoding") from error
    return read_text(text, lambda line: f"{path}:{line}")


def read_text(text: str, place_of: Callable[[int], str]) -> Any:
    """The value of a YAML text; `place_of` turns a line number into the place that messages and nodes carry."""
    try:
        loader = _Loader(text, place_of)
        node = loader.get_single_node()
        return None if node is None else loader.convert(node, "", depth=1)
    except ConfigError:
        raise
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise Spot(place_of(line)).error(f"the character U+{error.character:04X} is not allowed in YAML") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Spot(place_of(mark.line + 1)).error(f"this is not valid YAML: {_problem(error, mark)}") from error
    except (ValueError, OverflowError) as error:  # PyYAML's, from "\UFFFFFFFF"
        line = loader.get_mark().line + 1
        raise Spot(place_of(line)).error("an escape in double quotes names no character") from error


def _problem(error: yaml.MarkedYAMLError, mark: yaml.Mark) -> str:
    if mark.buffer and mark.buffer[mark.pointer] == "\t":
        return "there is a tab here; use spaces"
    if error.problem == "mapping values are not allowed here":
        return "there is a ':' too many here; is the line indented wrongly, or does a text with ': ' lack quotes?"
    return "; ".join(part for part in (error.context, error.problem) if part)


def _scalar(node: yaml.ScalarNode) -> Any:
    return node.value if node.style else plain_value(node.value)


def plain_value(text: str) -> Any:
    """What an unquoted word stands for: null, a boolean, a number, or the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text


class _Loader(yaml.SafeLoader):
    """PyYAML's parser, stopped at the limits while it parses, with our own way from its node graph to values."""

    def __init__(self, text: str, place_of: Callable[[int], str]) -> None:
        super().__init__(text)
        self.place_of = place_of
        self.depth = self.parsed = self.converted = 0

    def compose_node(self, parent: Any, index: Any) -> yaml.Node:
        event = self.peek_event()
        self.depth += 1
        self.parsed += 1
        spot = Spot(self._place(event))
        self._check_limits(spot, self.depth, self.parsed)
        if getattr(event, "tag", None):
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            raise spot.error(f"the tag {tag!r} is refused; a config holds plain values only")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def convert(self, node: yaml.Node, path: str, depth: int) -> Any:
        spot = Spot(self._place(node), path)
        self.converted += 1
        self._check_limits(spot, depth, self.converted)
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node)
        if isinstance(node, yaml.SequenceNode):
            items = Items(place=spot.place)
            for position, child in enumerate(node.value):
                items.places[position] = self._place(child)
                items.append(self.convert(child, spot.inside(items, position).path, depth + 1))
            return items
        mapping = Node(place=spot.place)
        for key_node, child in node.value:
            key = self._key(key_node, spot)
            if key in mapping:
                first = mapping.where(key)
                raise Spot(self._place(key_node), spot.inside(mapping, key).path).error(
                    f"this key is given twice; the first time at {first}"
                )
            mapping.places[key] = self._place(key_node)
            mapping[key] = self.convert(child, spot.inside(mapping, key).path, depth + 1)
        return mapping

    def _key(self, node: yaml.Node, spot: Spot) -> str:
        spot = spot._replace(place=self._place(node))
        if not isinstance(node, yaml.ScalarNode):
            raise spot.error("a key must be text, not a list or a mapping")
        if not isinstance(_scalar(node), str):
            raise spot.error(f"a key must be text; write {node.value!r} in quotes if it is meant as text")
        if node.value == "<<" and not node.style:
            raise spot.error("merge keys (<<) are not read; put the common part into a file and name it in `_base_`")
        return node.value

    def _check_limits(self, spot: Spot, depth: int, values: int) -> None:
        if depth > MAX_DEPTH:
            raise Spot(spot.place).error(f"this is nested deeper than {MAX_DEPTH} levels; does an alias hold itself?")
        if values > MAX_VALUES:
            raise spot.error(f"this holds more than {MAX_VALUES} values (aliases count each time they are used)")

    def _place(self, marked: Any) -> str:
        return self.place_of(marked.start_mark.line + 1)


def _missing(path: Path) -> str:
    """Says that a file is missing, which part of its path is, and what stands there instead."""
    missing = path
    while not missing.parent.is_dir():
        missing = missing.parent
    folder = missing.parent
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() or entry.suffix in (".yaml", ".yml"))
    known = ", ".join(names[:MAX_NAMES_LISTED]) + (", ..." if len(names) > MAX_NAMES_LISTED else "")
    return f"{path} does not exist.{nearest(missing.name, names)} In {folder} there is: {known or 'no YAML file'}"
