"""CLIP: an image tower and a text tower whose embeddings share one space.

Paper: Radford et al., arXiv:2103.00020. Original code: openai/CLIP; the numbers equal its own for the same weights.

Shape letters: B batch, L tokens, E embedding.
"""

from __future__ import annotations

from typing import Any, Dict, List, Literal, Mapping, Optional, Tuple, Union

import paddle
from paddle import nn

from passl.checkpoint import LoadReport, from_family, implied_activation, layer_arrays, load_into, save_model_folder
from passl.distributed.environment import num_local_processes
from passl.modeling.backbones import ModifiedResNet, TextTransformer, VisionTransformer
from passl.modeling.layers import constant, new_parameter, unit_length, without_autocast
from passl.tokenizers import build_tokenizer
from passl.utils.constants import INIT_LOGIT_SCALE, MAX_LOGIT_SCALE, OPENAI_MEAN, OPENAI_STD
from passl.utils.cpu import configure_cpu
from passl.utils.errors import UserError
from passl.utils.registry import ARCHITECTURES

# Width of one attention head in all towers of the paper.
_HEAD_WIDTH = 64


@ARCHITECTURES.register()
class CLIP(nn.Layer):
    """Two towers and a temperature.

    Args:
        embed_dim: E, width of the space shared by images and texts.
        image_resolution: height and width of the images.
        vision_layers: number of blocks of a vision transformer, or those of a ResNet's four stages.
        vision_width: width of the vision transformer, or channels after the ResNet's stem.
        vision_patch_size: side of the squares that a vision transformer cuts images into; null for a ResNet.
        context_length: the most tokens a text may have, its two marks included.
        vocab_size: number of token ids.
        transformer_width: width of the text tower.
        transformer_heads: attention heads of the text tower.
        transformer_layers: number of blocks of the text tower.
        qkv_bias: whether projections to queries, keys and values have a bias, in both towers.
        pre_norm: whether a vision transformer normalises its tokens before the first block.
        proj: whether a vision transformer's result is projected to `embed_dim`; without it the two widths are equal.
        patch_bias: whether a vision transformer's patch projection has a bias.
        activation: nonlinearity of the transformers' MLPs; it belongs to the weights.
        vision_heads: attention heads of the image tower; null makes each 64 wide.
        image_mean: mean of each colour (red, green, blue) that images are normalised with, for pixels from 0 to 1.
        image_std: standard deviation of each colour.
        image_interpolation: how images are resized.
        image_resize_mode: shortest resizes the short side and cuts out the centre, squash resizes both sides.
    """

    def __init__(
        self,
        embed_dim: int,
        image_resolution: int,
        vision_layers: Union[int, List[int]],
        vision_width: int,
        vision_patch_size: Optional[int] = None,
        context_length: int = 77,
        vocab_size: int = 49408,
        transformer_width: int = 512,
        transformer_heads: int = 8,
        transformer_layers: int = 12,
        qkv_bias: bool = True,
        pre_norm: bool = True,
        proj: bool = True,
        patch_bias: bool = False,
        activation: Literal["quick_gelu", "gelu"] = "quick_gelu",
        vision_heads: Optional[int] = None,
        image_mean: Tuple[float, float, float] = OPENAI_MEAN,
        image_std: Tuple[float, float, float] = OPENAI_STD,
        image_interpolation: Literal["bicubic", "bilinear"] = "bicubic",
        image_resize_mode: Literal["shortest", "squash"] = "shortest",
    ) -> None:
        network = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        preprocessing = {
            "size": image_resolution,
            "mean": list(network.pop("image_mean")),
            "std": list(network.pop("image_std")),
            "interpolation": network.pop("image_interpolation"),
            "resize_mode": network.pop("image_resize_mode"),
        }
        super().__init__()
        configure_cpu(num_local_processes())
        if not isinstance(vision_layers, int):
            network["vision_layers"] = list(vision_layers)
        self.spec: Dict[str, Dict[str, Any]] = {
            "architecture": {"name": "CLIP", **network},
            "preprocessing": preprocessing,
            "tokenizer": {"name": "ClipTokenizer", "context_length": context_length},
        }
        _check_sizes(network)
        _check_colours(preprocessing)
        if isinstance(vision_layers, int):
            self.visual = VisionTransformer(
                image_size=image_resolution,
                patch_size=vision_patch_size,
                width=vision_width,
                num_layers=vision_layers,
                num_heads=vision_heads or _num_heads(vision_width),
                output_dim=embed_dim,
                activation=activation,
                qkv_bias=qkv_bias,
                pre_norm=pre_norm,
                proj=proj,
                patch_bias=patch_bias,
            )
        else:
            self.visual = ModifiedResNet(
                image_size=image_resolution,
                layers=vision_layers,
                width=vision_width,
                num_heads=vision_heads or _num_heads(32 * vision_width),
                output_dim=embed_dim,
                qkv_bias=qkv_bias,
            )
        self.text = TextTransformer(
            context_length=context_length,
            vocab_size=vocab_size,
            width=transformer_width,
            num_layers=transformer_layers,
            num_heads=transformer_heads,
            output_dim=embed_dim,
            activation=activation,
            qkv_bias=qkv_bias,
        )
        self.logit_scale = new_parameter(self, [], constant(INIT_LOGIT_SCALE))

    def encode_image(self, image: paddle.Tensor, normalize: bool = False) -> paddle.Tensor:
        """Embeddings of images.

        Args:
            image: [B, 3, height, width] floating-point, as the model's transform makes them.
            normalize: divide each embedding by its length; then the result is float32 or wider.

        Returns:
            [B, E]
        """
        features = self.visual(image)
        return unit_length(features) if normalize else features

    def encode_text(self, text: paddle.Tensor, normalize: bool = False) -> paddle.Tensor:
        """Embeddings of texts.

        Args:
            text: [B, L] token ids, as the model's tokenizer makes them.
            normalize: divide each embedding by its length; then the result is float32 or wider.

        Returns:
            [B, E]
        """
        features = self.text(text)
        return unit_length(features) if normalize else features

    def forward(self, image: paddle.Tensor, text: paddle.Tensor) -> Tuple[paddle.Tensor, paddle.Tensor]:
        """Cosines of B images with C texts, times the learned scale: by image [B, C] and by text [C, B]."""
        image_features = self.encode_image(image, normalize=True)  # [B, E]
        text_features = self.encode_text(text, normalize=True)  # [C, E]
        with without_autocast():
            cosines = paddle.matmul(image_features, text_features, transpose_y=True)  # [B, C]
            logits_per_image = self.logit_scale.exp().astype(cosines.dtype) * cosines
        return logits_per_image, logits_per_image.t()

    def clamp_logit_scale(self) -> None:
        """Puts the logarithm of the scale back to at most ln 100, in place. For after an optimizer step."""
        with paddle.no_grad():
            self.logit_scale.set_value(self.logit_scale.clip(max=MAX_LOGIT_SCALE))

    def load_weights(
        self, weights: Mapping[str, Any], source: str, partial: bool = False, activation: Optional[str] = None
    ) -> Tuple[LoadReport, str]:
        """Takes over weights in any layout that `passl.checkpoint` reads.

        Args:
            weights: arrays or tensors by name, with or without the prefix `model.` and an outer dictionary whose key is
                `state_dict`.
            source: where they came from, for messages.
            partial: load what fits and report the rest, instead of raising.
            activation: the one they were trained with, where that is known; some layouts imply it.

        Returns:
            what became of each name, and the name of the layout.

        Raises:
            UserError: weights of another activation; names that are missing, unexpected or wrongly shaped, listed.
                Nothing is changed then.
        """
        arrays, family = from_family(weights)
        activation = activation or implied_activation(family)
        expected = self.spec["architecture"]["activation"]
        if activation not in (None, expected):
            raise UserError(
                f"{source} (layout {family}) was trained with activation {activation!r} and this model has "
                f"{expected!r}: it would run and give worse features. Build the model that the weights belong to, with "
                f"activation={activation!r} (names that end in -quickgelu have 'quick_gelu')"
            )
        return load_into(self, arrays, partial=partial, source=source), family

    def set_state_dict(self, state_dict: Mapping[str, Any]) -> LoadReport:
        """Takes over weights, all of them or none; see `load_weights`."""
        return self.load_weights(state_dict, source="the given state dict")[0]

    # Paddle knows the method by these names too; left alone they would be the ones that only warn.
    set_dict = load_dict = set_state_dict

    def save_pretrained(self, folder: str) -> None:
        """Writes a model folder that `passl.create_model(folder)` reads: weights, specification, tokenizer."""
        save_model_folder(folder, layer_arrays(self), self.spec, build_tokenizer(self.spec["tokenizer"]))


def architecture_from_spec(spec: Mapping[str, Mapping[str, Any]]) -> Dict[str, Any]:
    """The registry's node, `name` and all arguments, for the model whose `spec` this is."""
    preprocessing = spec["preprocessing"]
    return {
        **spec["architecture"],
        "image_mean": preprocessing["mean"],
        "image_std": preprocessing["std"],
        "image_interpolation": preprocessing["interpolation"],
        "image_resize_mode": preprocessing["resize_mode"],
    }


def _check_sizes(network: Mapping[str, Any]) -> None:
    """Raises `UserError` for sizes that are not positive and for arguments that the image tower does not have."""
    layers = network["vision_layers"]
    sizes = {name: value for name, value in network.items() if isinstance(value, int) and not isinstance(value, bool)}
    for name, value in sizes.items():
        if value < 1:
            raise UserError(f"{name} is {value}; it is at least 1")
    if network["transformer_width"] % network["transformer_heads"]:
        raise UserError(
            f"transformer_width {network['transformer_width']} is not a multiple of transformer_heads "
            f"{network['transformer_heads']}"
        )
    if isinstance(layers, int):
        if network["vision_patch_size"] is None:
            raise UserError(
                f"vision_layers: {layers} makes a vision transformer, which needs vision_patch_size; "
                "a ResNet has a list of four numbers of blocks"
            )
        return
    for name, only in {"vision_patch_size": None, "pre_norm": True, "proj": True, "patch_bias": False}.items():
        if network[name] != only:
            raise UserError(
                f"{name}: {network[name]} is for vision transformers; vision_layers: {list(layers)} makes a ResNet, "
                "which has no such choice. Leave it out"
            )


def _check_colours(preprocessing: Mapping[str, Any]) -> None:
    for name in ("mean", "std"):
        if len(preprocessing[name]) != 3:
            raise UserError(f"image_{name} has one number for each of red, green and blue, not {preprocessing[name]}")
    if min(preprocessing["std"]) <= 0:
        raise UserError(f"image_std is {preprocessing['std']}; images are divided by it, so each number is above 0")


def _num_heads(width: int) -> int:
    if width % _HEAD_WIDTH:
        raise UserError(
            f"the image tower attends with width {width}, which heads of width {_HEAD_WIDTH} do not fill; "
            "say their number with vision_heads"
        )
    return width // _HEAD_WIDTH
