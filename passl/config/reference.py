"""The page of every config key, written from signatures and docstrings."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from typing import Any, Dict, Iterable, Iterator, List, get_args

from passl.config.signatures import REQUIRED, Key, is_section, keys_of, registry_of
from passl.config.words import describe
from passl.config.writer import plain
from passl.utils.registry import Registry

INTRODUCTION = """\
# Config keys

This page is written from the constructors' signatures and docstrings. A key whose default is "required" has to be
given. `key: null` means none, and is accepted only where the type says "or null". The command line sets a key by its
dotted path, with numbers for positions in lists: `-o optimizer.lr=1e-4`, `-o evaluate.0.every_epochs=2`.
"""

_ENTRY = re.compile(r"(\w+(?:, \w+)*)(?: \([^)]*\))?: *(.*)")


def render(schema: type, registries: Iterable[Registry]) -> str:
    """The Markdown page: a table per section of `schema`, then a chapter per registry and a table per class.

    Raises:
        TypeError: naming every key that no docstring's `Args:` describes, and every description without a key.
    """
    chapters = {registry: [registry.get(name) for name in registry.names()] for registry in registries}
    registered = [cls for classes in chapters.values() for cls in classes]
    sections = _sections(schema, registered)
    faults = [fault for cls in [*sections, *registered] for fault in _faults(cls)]
    if faults:
        raise TypeError("docstrings and signatures differ:\n" + "\n".join(faults))
    page = [INTRODUCTION]
    for section, paths in sections.items():
        title = " and ".join(f"`{path}`" for path in paths) or "Top level"
        page += [f"## {title}", _summary(section), _table(section)]
    for registry, classes in chapters.items():
        page += [f"## {_chapter(registry)}", f"The key `name` says which {registry.kind} it is."]
        for cls in classes:
            page += [f"### `{cls.__name__}`", _summary(cls), _table(cls)]
    return "\n\n".join(part.strip() for part in page if part) + "\n"


def described_arguments(cls: type) -> Dict[str, str]:
    """What the `Args:` of a class's docstring say, by name, each on one line."""
    described: Dict[str, str] = {}
    names: List[str] = []
    _, _, rest = (inspect.getdoc(cls) or "").partition("\nArgs:\n")
    indent = len(rest) - len(rest.lstrip(" "))
    for line in rest.splitlines():
        depth = len(line) - len(line.lstrip(" "))
        if line and depth < indent:
            break
        entry = _ENTRY.match(line.strip()) if depth == indent else None
        if entry:
            names = entry.group(1).split(", ")
            described.update(dict.fromkeys(names, entry.group(2)))
        else:
            described.update({name: f"{described[name]} {line.strip()}".strip() for name in names})
    return described


def _sections(schema: type, registered: Iterable[type]) -> Dict[type, List[str]]:
    """The dataclasses in `schema`, itself first, and in registered classes, each with the paths it stands at."""
    found: Dict[type, List[str]] = {schema: []}

    def visit(cls: type, path: str) -> None:
        for key in keys_of(cls).values():
            for section in filter(is_section, _parts(key.hint)):
                is_new = section not in found
                found.setdefault(section, []).append(f"{path}{key.name}")
                if is_new:
                    visit(section, f"{path}{key.name}.")

    visit(schema, "")
    for cls in registered:
        visit(cls, f"{cls.__name__}.")
    return found


def _parts(hint: Any) -> Iterator[Any]:
    """The annotation itself and all annotations inside it."""
    yield hint
    for part in get_args(hint):
        yield from _parts(part)


def _summary(cls: type) -> str:
    """The docstring up to its first headed part (`Args:`, `Raises:`, ...)."""
    return re.split(r"\n\w[\w ]*:\n", inspect.getdoc(cls) or "")[0].strip()


def _table(cls: type) -> str:
    described = described_arguments(cls)
    rows = [(f"`{key.name}`", _type(key), _default(key), described.get(key.name, "")) for key in keys_of(cls).values()]
    lines = [("key", "type", "default", "meaning"), ("---",) * 4, *rows] if rows else []
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _type(key: Key) -> str:
    registries = [registry for registry in map(registry_of, _parts(key.hint)) if registry]
    links = [f" ([{chapter}](#{chapter.lower()}))" for chapter in map(_chapter, registries)]
    return describe(key.hint) + "".join(links)


def _chapter(registry: Registry) -> str:
    return f"{registry.kind.capitalize()}s"


def _default(key: Key) -> str:
    if key.default is REQUIRED:
        return "required"
    if dataclasses.is_dataclass(key.default):
        return "see its section"
    return f"`{json.dumps(plain(key.default), ensure_ascii=False)}`"


def _faults(cls: type) -> Iterator[str]:
    described, keys = described_arguments(cls), keys_of(cls)
    for name in keys:
        if not described.get(name):
            yield f"{cls.__name__}: the key {name!r} is not described"
    given = inspect.signature(cls).parameters
    for name in described:
        if name not in given:
            yield f"{cls.__name__}: {name!r} is described but is no parameter"
