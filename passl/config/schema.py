"""The check: whether a config fits the signatures of the classes it names, found out before anything is built.

Text is never a number, a number never a boolean, and null stands only where `Optional` says so. A registered class is
not instantiated: it comes out as a plain dict with its full name and every default filled in.
"""

from __future__ import annotations

import math
from typing import Any, Dict, Iterable, Literal, Mapping, Sequence, get_args, get_origin

from passl.config.node import ConfigError, Spot
from passl.config.signatures import (
    LISTS,
    REQUIRED,
    SCALARS,
    UNIONS,
    Key,
    fields_of,
    fixed_items,
    is_section,
    keys_of,
    registry_of,
    shape_of,
)
from passl.config.words import describe, mismatch, shape_of_value
from passl.utils.errors import UserError
from passl.utils.registry import Registry, nearest


def build(schema: Any, node: Mapping[str, Any]) -> Any:
    """Checks `node` against `schema` and returns the filled-in instance.

    Args:
        schema: a dataclass, whose fields are the sections and keys.
        node: the config, from `load_config`; a plain dict will do, its messages then lack file and line.

    Raises:
        ConfigError: with all mistakes of the config, one per line.
    """
    return fit(schema, node, Spot(getattr(node, "place", "")))


def fit(hint: Any, value: Any, spot: Spot) -> Any:
    """A new value of the annotated type made from `value`, or a `ConfigError` with everything that does not fit."""
    if is_section(hint) and isinstance(value, hint):
        value = {field.name: getattr(value, field.name) for field in fields_of(value)}
    if shape_of(hint) and shape_of(hint) is not shape_of_value(value):
        raise mismatch(hint, value, spot)
    if hint in SCALARS:
        return _fit_scalar(hint, value, spot)
    registry = registry_of(hint)
    if registry:
        return _fit_registered(registry, value, spot)
    if is_section(hint):
        return _fit_section(hint, value, spot)
    origin = get_origin(hint)
    if origin is Literal:
        return _fit_literal(hint, value, spot)
    if origin in UNIONS:
        return _fit_union(hint, value, spot)
    if origin in LISTS:
        return _fit_list(hint, value, spot)
    return _fit_each(dict.fromkeys(value, get_args(hint)[1]), value, spot)


def _fit_registered(registry: Registry, value: Mapping[str, Any], spot: Spot) -> Dict[str, Any]:
    if "name" not in value:
        raise spot.error(f"the key 'name' is missing; it says which {registry.kind}: {', '.join(registry.names())}")
    at_name = spot.inside(value, "name")
    try:
        cls = registry.get(fit(str, value["name"], at_name))
    except ConfigError:
        raise
    except UserError as error:
        raise at_name.error(str(error)) from error
    return {"name": cls.__name__, **_fit_arguments(cls, value, spot, besides=("name",))}


def _fit_section(cls: type, value: Mapping[str, Any], spot: Spot) -> Any:
    arguments = _fit_arguments(cls, value, spot)
    try:
        return cls(**arguments)
    except UserError as error:
        raise spot.error(str(error)) from error


def _fit_arguments(cls: type, value: Mapping[str, Any], spot: Spot, besides: Sequence[str] = ()) -> Dict[str, Any]:
    """All arguments of `cls`, in the order of its signature; `besides` are keys that `value` may have as well."""
    keys = keys_of(cls)
    accepted = [*besides, *keys]
    if len(set(accepted)) < len(accepted):
        raise TypeError(f"{cls.__name__}: a parameter may not be called {' or '.join(besides)}; configs use that word")
    errors = [
        spot.inside(value, key).error(f"unknown key.{nearest(key, accepted)} Accepted here: {', '.join(accepted)}")
        for key in value
        if key not in accepted
    ]
    errors += [
        spot.error(f"the key {key.name!r} is missing; it takes {describe(key.hint)}")
        for key in keys.values()
        if key.default is REQUIRED and key.name not in value
    ]
    given = _fit_each({key.name: key.hint for key in keys.values() if key.name in value}, value, spot, errors)
    return {key.name: given[key.name] if key.name in given else _fit_default(cls, key) for key in keys.values()}


def _fit_default(cls: type, key: Key) -> Any:
    try:
        return fit(key.hint, key.default, Spot(path=key.name))
    except ConfigError as error:
        raise TypeError(f"a default of {cls.__name__} contradicts its annotation: {error}") from error


def _fit_each(hints: Mapping[Any, Any], value: Any, spot: Spot, errors: Iterable[ConfigError] = ()) -> Dict[Any, Any]:
    """Fits the items of `value` that have a hint; one wrong item does not hide the next."""
    fitted, errors = {}, list(errors)
    for key, hint in hints.items():
        try:
            fitted[key] = fit(hint, value[key], spot.inside(value, key))
        except ConfigError as error:
            errors.append(error)
    if errors:
        raise ConfigError(*(mistake for error in errors for mistake in error.mistakes))
    return fitted


def _fit_list(hint: Any, value: Sequence[Any], spot: Spot) -> Any:
    hints = fixed_items(hint) or [get_args(hint)[0]] * len(value)
    if len(hints) != len(value):
        raise mismatch(hint, value, spot)
    items = _fit_each(dict(enumerate(hints)), value, spot).values()
    return tuple(items) if get_origin(hint) is tuple else list(items)


def _fit_union(hint: Any, value: Any, spot: Spot) -> Any:
    fitted, errors = [], {}
    for option in get_args(hint):
        try:
            fitted.append(fit(option, value, spot))
        except ConfigError as error:
            errors[option] = error
    if fitted:
        return next((choice for choice in fitted if type(choice) is type(value)), fitted[0])
    shape = shape_of_value(value)
    meant = [error for option, error in errors.items() if shape and shape_of(option) is shape]
    raise min(meant, key=lambda error: len(error.mistakes)) if meant else mismatch(hint, value, spot)


def _fit_literal(hint: Any, value: Any, spot: Spot) -> Any:
    if not any(type(value) is type(accepted) and value == accepted for accepted in get_args(hint)):
        raise mismatch(hint, value, spot)
    return value


def _fit_scalar(hint: Any, value: Any, spot: Spot) -> Any:
    accepted = (int, float) if hint is float else hint
    if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
        raise mismatch(hint, value, spot)
    if hint is float and not math.isfinite(value):
        raise spot.error(f"expected a finite number, not {value}")
    return value if hint in (type(None), bool) else hint(value)
