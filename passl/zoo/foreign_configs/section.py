"""A mapping of another toolkit's config while it is read: every message names the file, the key and its value."""

from __future__ import annotations

import math
from typing import Any, Iterable, List, Mapping, Optional, TypeVar

from passl.utils.errors import UserError
from passl.utils.registry import nearest

Value = TypeVar("Value")


class Section:
    """The keys of one mapping, with what its toolkit takes for those that are left out.

    Args:
        values: the mapping, as JSON has it; null counts as empty.
        place: the file, for messages.
        defaults: what a key that is left out means.
        path: the keys that lead to the mapping.

    Raises:
        UserError: not a mapping.
    """

    def __init__(
        self, values: Any, place: str, defaults: Optional[Mapping[str, Any]] = None, path: Iterable[str] = ()
    ) -> None:
        self.place, self.path = place, tuple(path)
        if values is not None and not isinstance(values, Mapping):
            raise UserError(
                f"{self.place}: {'.'.join(self.path) or 'the file'} is {values!r:.60}, not a mapping of keys"
            )
        self.values = {**(defaults or {}), **(values or {})}

    def inside(self, key: str, defaults: Optional[Mapping[str, Any]] = None) -> Section:
        """The mapping at `key`; one that is missing is empty."""
        return Section(self.values.get(key), self.place, defaults, (*self.path, key))

    def refusal(self, key: str, reason: str) -> UserError:
        """The error for a key whose value cannot be taken over."""
        name = ".".join((*self.path, key))
        if key not in self.values:
            return UserError(f"{self.place}: {name} is missing; {reason}")
        return UserError(f"{self.place}: {name} is {self.values[key]!r:.80}; {reason}")

    def count(self, key: str) -> int:
        """A whole number above 0."""
        value = self.values.get(key)
        if not _is_whole(value) or value < 1:
            raise self.refusal(key, "a whole number above 0 belongs here")
        return value

    def index(self, key: str) -> int:
        """A whole number of 0 or more, such as a token's id."""
        value = self.values.get(key)
        if not _is_whole(value) or value < 0:
            raise self.refusal(key, "a whole number of 0 or more belongs here")
        return value

    def number(self, key: str) -> float:
        """A finite number."""
        value = self.values.get(key)
        if not _is_number(value):
            raise self.refusal(key, "a number belongs here")
        return float(value)

    def optional_number(self, key: str) -> Optional[float]:
        """A finite number, or None where the key is null or missing."""
        return None if self.values.get(key) is None else self.number(key)

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self.values.get(key)
        if not isinstance(value, bool):
            raise self.refusal(key, "true or false belongs here")
        return value

    def choice(self, key: str, accepted: Mapping[str, Value]) -> Value:
        """What the word at `key` stands for."""
        value = self.values.get(key)
        if not isinstance(value, str) or value not in accepted:
            raise self.refusal(key, f"passl has nothing that computes this. Accepted: {', '.join(accepted)}")
        return accepted[value]

    def counts(self, key: str) -> List[int]:
        """A list of whole numbers above 0."""
        values = self.values.get(key)
        if not isinstance(values, (list, tuple)) or not values or not all(_is_whole(n) and n > 0 for n in values):
            raise self.refusal(key, "a list of whole numbers above 0 belongs here")
        return list(values)

    def colours(self, key: str) -> List[float]:
        """A number for each of red, green and blue; one number stands for all three."""
        value = self.values.get(key)
        values = [value] * 3 if _is_number(value) else value
        if not isinstance(values, (list, tuple)) or len(values) != 3 or not all(map(_is_number, values)):
            raise self.refusal(key, "a number for each of red, green and blue belongs here")
        return [float(number) for number in values]

    def side(self, key: str) -> int:
        """The side of a square, which may be written as a pair."""
        value = self.values.get(key)
        if isinstance(value, (list, tuple)) and len(value) == 2:
            if value[0] != value[1]:
                raise self.refusal(key, "only squares are supported")
            value = value[0]
        if not _is_whole(value) or value < 1:
            raise self.refusal(key, "the side of a square, a whole number above 0, belongs here")
        return value

    def require(self, only: Mapping[str, Any]) -> None:
        """Refuses keys that are there with another value than the one in `only`: passl computes just that.

        A tuple in `only` holds several values; null counts as left out.
        """
        for key, accepted in only.items():
            choices = accepted if isinstance(accepted, tuple) else (accepted,)
            value = self.values.get(key)
            if value is not None and not any(_same(value, choice) for choice in choices):
                said = " or ".join(repr(choice) for choice in choices)
                raise self.refusal(key, f"passl computes it with {said} only")

    def refuse_others(self, known: Iterable[str]) -> None:
        """Refuses keys that are not among `known`: they may change what is computed."""
        known = list(known)
        for key in self.values:
            if key not in known:
                raise self.refusal(
                    key, f"passl does not know this key, which may change what is computed.{nearest(key, known)}"
                )


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _same(value: Any, other: Any) -> bool:
    return isinstance(value, bool) == isinstance(other, bool) and value == other
