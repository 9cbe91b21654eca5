"""The blocks that towers are made of; each has its one home here. Imports `utils` alone.

Shape letters everywhere: B batch, L tokens, H heads, K head width, D width, E embedding.
"""

from passl.modeling.layers.activation import activation_function, gelu, quick_gelu
from passl.modeling.layers.attention import Attention, attend
from passl.modeling.layers.attention_pool import AttentionPool2d
from passl.modeling.layers.initial import constant, new_parameter, normal, uniform, uniform_fan_in
from passl.modeling.layers.linear import Linear
from passl.modeling.layers.mlp import MLP
from passl.modeling.layers.norm import BatchNorm2D, LayerNorm
from passl.modeling.layers.patch_embed import PatchEmbed
from passl.modeling.layers.precision import at_least_float32, unit_length, without_autocast
from passl.modeling.layers.transformer import Block, BlockInit, Transformer

__all__ = [
    "MLP",
    "Attention",
    "AttentionPool2d",
    "BatchNorm2D",
    "Block",
    "BlockInit",
    "LayerNorm",
    "Linear",
    "PatchEmbed",
    "Transformer",
    "activation_function",
    "at_least_float32",
    "attend",
    "constant",
    "gelu",
    "new_parameter",
    "normal",
    "quick_gelu",
    "uniform",
    "uniform_fan_in",
    "unit_length",
    "without_autocast",
]
