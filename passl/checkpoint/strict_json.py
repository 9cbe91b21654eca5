"""JSON from strangers: what parsers are free to read differently is refused."""

from __future__ import annotations

import json
from typing import Any, Callable, Dict, List, NoReturn, Tuple


def parse_mapping(text: bytes, what: str, refuse: Callable[[str], NoReturn]) -> Dict[str, Any]:
    """The mapping that `text` holds as JSON.

    Args:
        text: UTF-8.
        what: what to call it in reasons: "header".
        refuse: raises with the reason given to it: not JSON, no mapping, a name twice in a mapping, NaN or Infinity,
            numbers of many digits.
    """

    def without_repeats(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
        mapping: Dict[str, Any] = {}
        for name, value in pairs:
            if name in mapping:
                refuse(f"the name {name[:80]!r} stands twice in its {what}")
            mapping[name] = value
        return mapping

    def no_such_number(word: str) -> NoReturn:
        refuse(f"its {what} holds {word}, which is no number of JSON")

    def short_integer(digits: str) -> int:
        if len(digits) > 20:
            refuse(f"its {what} holds a number of {len(digits):,} digits")
        return int(digits)

    try:
        mapping = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=without_repeats,
            parse_constant=no_such_number,
            parse_int=short_integer,
        )
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        refuse(f"its {what} is not JSON ({str(error)[:100]})")
    if not isinstance(mapping, dict):
        refuse(f"its {what} is not a mapping from names to values")
    return mapping
