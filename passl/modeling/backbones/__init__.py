"""Towers: from an image or a text to one embedding. Each is a registered class of its own."""

from passl.modeling.backbones.bert_encoder import BertEncoder
from passl.modeling.backbones.resnet import ModifiedResNet
from passl.modeling.backbones.text_transformer import TextTransformer
from passl.modeling.backbones.vision_transformer import VisionTransformer

__all__ = ["BertEncoder", "ModifiedResNet", "TextTransformer", "VisionTransformer"]
