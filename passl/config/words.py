"""Annotations and mistakes in words, for messages and for the reference page."""

from __future__ import annotations

from typing import Any, Iterable, Literal, Mapping, Optional, get_args, get_origin

from passl.config.node import ConfigError, Spot
from passl.config.reader import plain_value
from passl.config.signatures import LISTS, MAPPINGS, UNIONS, fixed_items, registry_of
from passl.utils.registry import nearest

MAX_SHOWN = 60

_SCALARS = {type(None): "null", bool: "true or false", int: "a whole number", float: "a number", str: "text"}
_SCALARS_PLURAL = {**_SCALARS, bool: "booleans", int: "whole numbers", float: "numbers", str: "texts"}
_TRUTH = {**dict.fromkeys(("yes", "on", "1", "true"), "true"), **dict.fromkeys(("no", "off", "0", "false"), "false")}


def describe(hint: Any, plural: bool = False) -> str:
    """The annotated type in words: "a list of numbers or null"."""
    if hint in _SCALARS:
        return (_SCALARS_PLURAL if plural else _SCALARS)[hint]
    registry = registry_of(hint)
    if registry:
        return _noun(registry.kind, plural)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return _either(map(_written, arguments))
    if origin in UNIONS:
        return _either(describe(option, plural) for option in arguments)
    fixed = fixed_items(hint)
    if len(set(fixed)) > 1:
        return f"{_noun('list', plural)} ({', '.join(map(describe, fixed))})"
    if origin in LISTS:
        return f"{_noun('list', plural)} of {f'{len(fixed)} ' if fixed else ''}{describe(arguments[0], plural=True)}"
    if origin in MAPPINGS:
        return f"{_noun('mapping', plural)} of names to {describe(arguments[1], plural=True)}"
    return _noun("mapping", plural)


def _noun(noun: str, plural: bool) -> str:
    article = "an" if noun[0] in "aeiou" else "a"
    return f"{noun}s" if plural else f"{article} {noun}"


def _either(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def _written(value: Any) -> str:
    """A scalar as a config says it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)


def shape_of_value(value: Any) -> Optional[type]:
    """`dict` for a mapping, `list` for a list or tuple, None for a scalar."""
    if isinstance(value, Mapping):
        return dict
    return list if isinstance(value, (list, tuple)) else None


def mismatch(hint: Any, value: Any, spot: Spot) -> ConfigError:
    """The error for a value of another type than `hint`: what was expected, what stands there, how to mend it."""
    return spot.error(f"expected {describe(hint)}, not {_show(value)}{_advice(hint, value)}")


def _show(value: Any) -> str:
    if shape_of_value(value):
        return f"a list of {len(value)}" if shape_of_value(value) is list else "a mapping"
    shown = _written(value)
    shown = shown if len(shown) <= MAX_SHOWN else f"{shown[:MAX_SHOWN]}..."
    return f"the text {shown}" if isinstance(value, str) else shown


def _advice(hint: Any, value: Any) -> str:
    """How to mend the value, where that can be told."""
    if get_origin(hint) in UNIONS:
        return next(filter(None, (_advice(option, value) for option in get_args(hint))), "")
    registry = registry_of(hint)
    if registry:
        given = value if isinstance(value, str) and value in registry else "..."
        return f"; write {{name: {given}}}"
    if hint in (int, float) and isinstance(value, str) and isinstance(plain_value(value), (int, float)):
        return "; write it without quotes"
    if hint is int and isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return f"; write {int(value)}"
    if hint is bool and str(value).lower() in _TRUTH:
        return f"; write {_TRUTH[str(value).lower()]}"
    if hint is str and shape_of_value(value) is None and value is not None:
        return "; put it in quotes"
    if get_origin(hint) is Literal and isinstance(value, str):
        suggestion = nearest(value, [accepted for accepted in get_args(hint) if isinstance(accepted, str)])
        return f".{suggestion}" if suggestion else ""
    return ""
