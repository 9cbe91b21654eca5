"""The blocks that towers are made of; each has its one home here. Imports `utils` alone.

Shape letters everywhere: B batch, L tokens, H heads, K head width, D width, E embedding.
"""

from passl.modeling.layers.activation import activation_function, gelu, gelu_tanh, quick_gelu
from passl.modeling.layers.attention import Attention, attend
from passl.modeling.layers.attention_pool import AttentionPool2d, LatentAttentionPool
from passl.modeling.layers.initial import constant, new_parameter, normal, uniform, uniform_fan_in
from passl.modeling.layers.layer_scale import LayerScale
from passl.modeling.layers.linear import Linear
from passl.modeling.layers.mlp import MLP, known_mlp_width
from passl.modeling.layers.norm import BatchNorm2D, LayerNorm
from passl.modeling.layers.patch_embed import PatchEmbed
from passl.modeling.layers.pooler import Pooler
from passl.modeling.layers.precision import at_least_float32, mean_in_float32, unit_length, without_autocast
from passl.modeling.layers.transformer import Block, BlockInit, PostNormBlock, Transformer

__all__ = [
    "MLP",
    "Attention",
    "AttentionPool2d",
    "BatchNorm2D",
    "Block",
    "BlockInit",
    "LatentAttentionPool",
    "LayerNorm",
    "LayerScale",
    "Linear",
    "PatchEmbed",
    "Pooler",
    "PostNormBlock",
    "Transformer",
    "activation_function",
    "at_least_float32",
    "attend",
    "constant",
    "gelu",
    "gelu_tanh",
    "known_mlp_width",
    "mean_in_float32",
    "new_parameter",
    "normal",
    "quick_gelu",
    "uniform",
    "uniform_fan_in",
    "unit_length",
    "without_autocast",
]
