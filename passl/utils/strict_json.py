"""JSON from strangers: what parsers are free to read differently is refused."""

from __future__ import annotations

import collections
import json
import math
from pathlib import Path
from typing import Any, Callable, Dict, List, NoReturn, Tuple

MAX_CONFIG = 10_000_000
MAX_VOCABULARY = 100_000_000
# transformers writes 10^30 where it knows no limit; no file says longer numbers.
_MAX_DIGITS = 100


def read_mapping(path: Path, what: str, refuse: Callable[[str], NoReturn], limit: int = MAX_CONFIG) -> Dict[str, Any]:
    """The mapping that a file holds as JSON; see `parse_mapping`. More bytes than `limit` are refused too.

    Raises:
        OSError: there is no such file, or it cannot be read.
    """
    with open(path, "rb") as file:
        text = file.read(limit + 1)
    if len(text) > limit:
        refuse(f"{what} has more than {limit:,} bytes")
    return parse_mapping(text, what, refuse)


def parse_mapping(text: bytes, what: str, refuse: Callable[[str], NoReturn]) -> Dict[str, Any]:
    """The mapping that `text` holds as JSON.

    Args:
        text: UTF-8.
        what: what to call it in reasons: "its header".
        refuse: raises with the reason given to it: not JSON, no mapping, a name twice in a mapping, NaN or Infinity,
            numbers of many digits.
    """

    def without_repeats(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
        mapping = dict(pairs)
        if len(mapping) != len(pairs):
            twice = collections.Counter(name for name, _ in pairs).most_common(1)[0][0]
            refuse(f"the name {twice[:80]!r} stands twice in {what}")
        return mapping

    def no_such_number(word: str) -> NoReturn:
        refuse(f"{what} holds {word}, which is no number of JSON")

    def short_integer(digits: str) -> int:
        if len(digits) > _MAX_DIGITS:
            refuse(f"{what} holds a number of {len(digits):,} digits")
        return int(digits)

    def finite(digits: str) -> float:
        value = float(digits)
        if math.isinf(value):
            refuse(f"{what} holds {digits[:20]}, which is too large for a number")
        return value

    try:
        mapping = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=without_repeats,
            parse_constant=no_such_number,
            parse_int=short_integer,
            parse_float=finite,
        )
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        refuse(f"{what} is not JSON ({str(error)[:100]})")
    if not isinstance(mapping, dict):
        refuse(f"{what} is no JSON object: it holds no mapping of keys, but a {type(mapping).__name__}")
    return mapping


def shown(value: Any) -> str:
    """`value` for a message: plain ones and lists of them, cut; others are named by their kind, they could be endless."""
    if isinstance(value, str):
        return repr(value[:80])
    if isinstance(value, list) and len(value) <= 40 and all(isinstance(entry, (int, float)) for entry in value):
        return repr(value)[:80]
    return repr(value) if value is None or isinstance(value, (bool, int, float)) else f"a {type(value).__name__}"
