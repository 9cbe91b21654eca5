"""Mappings and lists that know where they were written, and the error that says so."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, NamedTuple, Tuple, Union

from passl.utils.errors import UserError

MAX_MISTAKES_SHOWN = 10

Pairs = Union[Mapping[Any, Any], Iterable[Tuple[Any, Any]]]


class ConfigError(UserError):
    """The mistakes found in a config, one per line: `file:line: key.path: what is wrong and how to mend it`."""

    @property
    def mistakes(self) -> tuple[str, ...]:
        return self.args

    def __str__(self) -> str:
        hidden = len(self.mistakes) - MAX_MISTAKES_SHOWN
        more = [f"... and {hidden} more"] if hidden > 0 else []
        return "\n".join([*self.mistakes[:MAX_MISTAKES_SHOWN], *more])


class Located:
    """What `Node` and `Items` share: a place of their own, and one for each of their keys or positions."""

    place: str
    places: dict[Any, str]

    def where(self, key: Any) -> str:
        """Where `key` was written: `file:line`, or `-o key=value` if an override set it."""
        return self.places.get(key, self.place)


class Node(Located, dict):
    """A mapping of a config: a plain dict that knows where each of its keys was written."""

    def __init__(self, content: Pairs = (), place: str = "", places: Pairs = ()) -> None:
        super().__init__(content)
        self.place, self.places = place, dict(places)


class Items(Located, list):
    """A list of a config: a plain list that knows where each of its items was written."""

    def __init__(self, content: Iterable[Any] = (), place: str = "", places: Pairs = ()) -> None:
        super().__init__(content)
        self.place, self.places = place, dict(places)


class Spot(NamedTuple):
    """A value's place in the files and its path in the config: what every message about it begins with."""

    place: str = ""
    path: str = ""

    def inside(self, container: Any, key: Any) -> Spot:
        """The spot of `container[key]`, where `container` is the value at this spot (a plain dict or list will do)."""
        place = container.where(key) if isinstance(container, Located) else self.place
        return Spot(place, f"{self.path}.{key}" if self.path else str(key))

    def error(self, text: str) -> ConfigError:
        return ConfigError(": ".join(part for part in (self.place, self.path, text) if part))
