"""A built config back to YAML that `load_config` reads to an equal one."""

from __future__ import annotations

import dataclasses
from typing import Any

import yaml

from passl.config.reader import plain_value
from passl.config.signatures import fields_of


def to_yaml(instance: Any) -> str:
    """The whole config, every default written out."""
    return yaml.dump(plain(instance), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def plain(value: Any) -> Any:
    """`value` as nothing but dicts, lists and scalars."""
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields_of(value)}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


class _Dumper(yaml.SafeDumper):
    """PyYAML's writer; text that our reader would take for something else is quoted, lists of scalars take one line."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.Node:
        style = "'" if plain_value(text) is not text else None
        if not text.isprintable():
            style = '"'  # the only style in which every character can be escaped
        return self.represent_scalar("tag:yaml.org,2002:str", text, style)

    def represent_items(self, items: list) -> yaml.Node:
        on_one_line = not any(isinstance(item, (dict, list)) for item in items)
        return self.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=on_one_line)


_Dumper.add_representer(str, _Dumper.represent_text)
_Dumper.add_representer(list, _Dumper.represent_items)
