"""Weight files as names and arrays: reading them safely, writing them, loading them strictly, other layouts' names.

Knows no model, so models may import it; may import from utils, distributed, config and tokenizers. Needs no Paddle.
"""

from passl.checkpoint.families import FAMILIES, Recognised, from_family, implied_activation, layout_name, to_family
from passl.checkpoint.folders import is_model_folder, read_model_folder, read_spec, save_model_folder
from passl.checkpoint.loading import LoadReport, layer_arrays, load_into
from passl.checkpoint.weights import read_metadata, read_weights, weights_hash, write_weights

__all__ = [
    "FAMILIES",
    "LoadReport",
    "Recognised",
    "from_family",
    "implied_activation",
    "is_model_folder",
    "layer_arrays",
    "layout_name",
    "load_into",
    "read_metadata",
    "read_model_folder",
    "read_spec",
    "read_weights",
    "save_model_folder",
    "to_family",
    "weights_hash",
    "write_weights",
]
