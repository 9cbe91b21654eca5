"""Names to classes: how a config's `name:` finds what it builds.

A registered class is built from a mapping of its own keyword arguments. Arguments that only the program can give (the
parameters of an optimizer, say) are positional-only in the signature, so a config can never set them.
"""

from __future__ import annotations

import difflib
from typing import Any, Callable, Iterable, Mapping

from passl.utils.errors import UserError


def nearest(name: str, accepted: Iterable[str]) -> str:
    """A short ending for an error message: the accepted name closest to `name`, if any is close."""
    plain = {_plain(entry): entry for entry in accepted}
    matches = difflib.get_close_matches(_plain(name), plain, n=1, cutoff=0.6)
    return f" Did you mean {plain[matches[0]]!r}?" if matches else ""


def _plain(name: object) -> str:
    """Capitals and the kind of dash are no difference when the nearest name is looked for."""
    return str(name).lower().replace("_", "-")


class Registry:
    """A table of the classes of one kind.

    Args:
        kind: what is registered, in the singular, as error messages say it ("dataset").
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, type] = {}
        self._aliases: dict[str, str] = {}

    def register(self, *aliases: str) -> Callable[[type], type]:
        """Class decorator; the class is found under its own name and under `aliases`."""

        def add(entry: type) -> type:
            for name in (entry.__name__, *aliases):
                if name in self:
                    raise KeyError(f"{self.kind} {name!r} is registered twice")
            self._entries[entry.__name__] = entry
            self._aliases.update(dict.fromkeys(aliases, entry.__name__))
            return entry

        return add

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._aliases

    def names(self) -> list[str]:
        """The registered names, sorted, without aliases."""
        return sorted(self._entries)

    def get(self, name: str) -> type:
        """The class of that name. Raises `UserError` with the accepted names."""
        if name not in self:
            known = [*self._entries, *self._aliases]
            raise UserError(
                f"there is no {self.kind} named {name!r}.{nearest(name, known)} Accepted: {', '.join(self.names())}"
            )
        return self._entries[self._aliases.get(name, name)]

    def build(self, node: Mapping[str, Any], *given: Any) -> Any:
        """Builds `node["name"]` from the node's other keys; `given` are its positional-only arguments."""
        if not isinstance(node, Mapping) or "name" not in node:
            raise UserError(f"a {self.kind} is a mapping with the key 'name', not {node!r}")
        arguments = {key: value for key, value in node.items() if key != "name"}
        return self.get(node["name"])(*given, **arguments)


MODELS = Registry("model")
ARCHITECTURES = Registry("architecture")
BACKBONES = Registry("backbone")
HEADS = Registry("head")
DATASETS = Registry("dataset")
TRANSFORMS = Registry("transform")
OPTIMIZERS = Registry("optimizer")
SCHEDULES = Registry("schedule")
EVALUATORS = Registry("evaluator")
TOKENIZERS = Registry("tokenizer")
