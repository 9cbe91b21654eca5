"""Configs of other toolkits beside weights, to and from our specifications: transformers, open_clip, PaddleMIX.

Pure functions on plain data and one reader; Paddle is not needed. The rooms that `zoo` may import are enough.
"""

from passl.zoo.foreign_configs.huggingface import huggingface_files, node_from_huggingface
from passl.zoo.foreign_configs.images import preprocessing_from_huggingface
from passl.zoo.foreign_configs.open_clip import node_from_open_clip, open_clip_files, open_clip_from_node
from passl.zoo.foreign_configs.paddlemix import node_from_paddlemix, paddlemix_files
from passl.zoo.foreign_configs.reading import read_foreign_spec

__all__ = [
    "huggingface_files",
    "node_from_huggingface",
    "node_from_open_clip",
    "node_from_paddlemix",
    "open_clip_files",
    "open_clip_from_node",
    "paddlemix_files",
    "preprocessing_from_huggingface",
    "read_foreign_spec",
]
