"""What a class says about its config keys: the parameters of its constructor, their annotations and defaults.

The program's own arguments stand before `/` in the signature, config keys after it, and what only Python code may give
(old spellings) after `*`. Annotations of keys are made of

* `bool`, `int`, `float`, `str`, `Literal`, `Optional` and `Union`;
* `List`, `Sequence`, `Tuple` and `Dict[str, ...]` of such;
* a dataclass: a section;
* `Annotated[dict, REGISTRY]`: a mapping whose `name` is a registered class, and whose other keys are that class's.

Anything else is a defect of the class, and a `TypeError`.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import types
from typing import (
    Any,
    Dict,
    Literal,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from passl.utils.registry import Registry

REQUIRED: Any = inspect.Parameter.empty

SCALARS = (type(None), bool, int, float, str)
# What `get_origin` says of the annotations that hold others.
UNIONS = (Union, getattr(types, "UnionType", Union))
LISTS = (list, tuple, collections.abc.Sequence)
MAPPINGS = (dict, collections.abc.Mapping)


class Key(NamedTuple):
    """One key that a class accepts: its name, the annotation of its type, and its default or `REQUIRED`."""

    name: str
    hint: Any
    default: Any


def keys_of(cls: type) -> Dict[str, Key]:
    """The config keys of a class by name, in the order of its signature."""
    keys = _fields(cls) if dataclasses.is_dataclass(cls) else _parameters(cls)
    for key in keys:
        if not _is_supported(key.hint):
            raise TypeError(f"{cls.__name__}.{key.name}: a config cannot be checked against {key.hint!r}")
    return {key.name: key for key in keys}


def fields_of(section: Any) -> Sequence[dataclasses.Field]:
    """The fields of a dataclass, or of its instance, that its constructor takes."""
    return [field for field in dataclasses.fields(section) if field.init]


def _fields(cls: type) -> Sequence[Key]:
    hints = get_type_hints(cls, include_extras=True)
    return [Key(field.name, hints[field.name], _default(field)) for field in fields_of(cls)]


def _default(field: dataclasses.Field) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return REQUIRED if field.default_factory is dataclasses.MISSING else field.default_factory()


def _parameters(cls: type) -> Sequence[Key]:
    owner = next(base for base in cls.__mro__ if "__init__" in vars(base))
    if owner.__module__.partition(".")[0] in ("builtins", "paddle"):
        return []  # the constructor of `object` or of `paddle.nn.Layer`: the class has none of its own
    constructor = vars(owner)["__init__"]
    hints = get_type_hints(constructor, include_extras=True)
    keys = []
    for parameter in list(inspect.signature(constructor).parameters.values())[1:]:
        if parameter.kind is parameter.VAR_KEYWORD:
            raise TypeError(f"{cls.__name__} takes **{parameter.name}; its parameters are its config keys, name them")
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
            continue
        if parameter.name not in hints:
            raise TypeError(f"{cls.__name__}.{parameter.name} has no annotation")
        keys.append(Key(parameter.name, hints[parameter.name], parameter.default))
    return keys


def _is_supported(hint: Any) -> bool:
    origin, inner = get_origin(hint), get_args(hint)
    if hint in SCALARS or origin is Literal or registry_of(hint) or is_section(hint):
        return True
    if origin in MAPPINGS:
        return inner[:1] == (str,) and _is_supported(inner[1])
    return origin in (*UNIONS, *LISTS) and bool(inner) and all(_is_supported(part) for part in inner if part is not ...)


def is_section(hint: Any) -> bool:
    """Whether the annotation is a dataclass."""
    return dataclasses.is_dataclass(hint)


def registry_of(hint: Any) -> Optional[Registry]:
    """The registry of `Annotated[dict, REGISTRY]`; None for any other annotation."""
    return next((extra for extra in getattr(hint, "__metadata__", ()) if isinstance(extra, Registry)), None)


def fixed_items(hint: Any) -> Tuple[Any, ...]:
    """The annotations of a `Tuple[X, Y]`; empty for lists of any length."""
    items = get_args(hint)
    return () if get_origin(hint) is not tuple or items[-1] is ... else items


def shape_of(hint: Any) -> Optional[type]:
    """What values of this annotation are at their outermost: `dict`, `list`, or None for scalars and unions."""
    if registry_of(hint) or is_section(hint) or get_origin(hint) in MAPPINGS:
        return dict
    return list if get_origin(hint) in LISTS else None
