"""From YAML text to a checked dataclass: files with `_base_`, overrides, and the check against constructor signatures.

Reading order: `node` (mappings that know their lines), `reader` (YAML), `load` (`_base_` and `-o`), `signatures`
(what a class accepts), `schema` (the check), `words` (its messages), `writer` (back to YAML), `reference` (the page
of all keys). Every room but `utils` and `distributed` may import from here.
"""

from passl.config.load import load_config
from passl.config.node import ConfigError, Node
from passl.config.schema import build
from passl.config.writer import to_yaml

__all__ = ["ConfigError", "Node", "build", "load_config", "to_yaml"]
