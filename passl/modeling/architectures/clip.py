"""CLIP as PASSL's configs spell it: the sizes of both towers side by side.

Paper: Radford et al., arXiv:2103.00020. Original code: openai/CLIP; the numbers equal its own for the same weights. What
this class describes is a `DualEncoder`, and its specification says so.
"""

from __future__ import annotations

from typing import Any, Dict, List, Literal, Mapping, Optional, Tuple, Union

from passl.modeling.architectures.dual_encoder import DualEncoder
from passl.utils.constants import OPENAI_MEAN, OPENAI_STD
from passl.utils.errors import UserError
from passl.utils.registry import ARCHITECTURES

# Width of one attention head in all towers of the paper.
_HEAD_WIDTH = 64


@ARCHITECTURES.register()
class CLIP(DualEncoder):
    """Two towers and a temperature; the tokenizer is CLIP's.

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
        flat = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        _check_sizes(flat)
        super().__init__(
            embed_dim=embed_dim,
            image=_image_tower(flat),
            text={
                "name": "TextTransformer",
                "context_length": context_length,
                "vocab_size": vocab_size,
                "width": transformer_width,
                "num_layers": transformer_layers,
                "num_heads": transformer_heads,
                "activation": activation,
                "qkv_bias": qkv_bias,
            },
            image_mean=image_mean,
            image_std=image_std,
            image_interpolation=image_interpolation,
            image_resize_mode=image_resize_mode,
        )


def _image_tower(flat: Mapping[str, Any]) -> Dict[str, Any]:
    """The node of the image tower that the flat keys describe."""
    layers, width, num_heads = flat["vision_layers"], flat["vision_width"], flat["vision_heads"]
    common = {"image_size": flat["image_resolution"], "width": width, "qkv_bias": flat["qkv_bias"]}
    if not isinstance(layers, int):
        num_heads = num_heads or _num_heads(32 * width)
        return {"name": "ModifiedResNet", **common, "layers": list(layers), "num_heads": num_heads}
    return {
        "name": "VisionTransformer",
        **common,
        "patch_size": flat["vision_patch_size"],
        "num_layers": layers,
        "num_heads": num_heads or _num_heads(width),
        "activation": flat["activation"],
        "pre_norm": flat["pre_norm"],
        "proj": flat["proj"],
        "patch_bias": flat["patch_bias"],
    }


def _check_sizes(flat: Mapping[str, Any]) -> None:
    """Raises `UserError` for sizes that are not positive and for arguments that the image tower does not have."""
    layers = flat["vision_layers"]
    sizes = {name: value for name, value in flat.items() if isinstance(value, int) and not isinstance(value, bool)}
    for name, value in sizes.items():
        if value < 1:
            raise UserError(f"{name} is {value}; it is at least 1")
    if flat["transformer_width"] % flat["transformer_heads"]:
        raise UserError(
            f"transformer_width {flat['transformer_width']} is not a multiple of transformer_heads "
            f"{flat['transformer_heads']}"
        )
    if isinstance(layers, int):
        if flat["vision_patch_size"] is None:
            raise UserError(
                f"vision_layers: {layers} makes a vision transformer, which needs vision_patch_size; "
                "a ResNet has a list of four numbers of blocks"
            )
        return
    for name, only in {"vision_patch_size": None, "pre_norm": True, "proj": True, "patch_bias": False}.items():
        if flat[name] != only:
            raise UserError(
                f"{name}: {flat[name]} is for vision transformers; vision_layers: {list(layers)} makes a ResNet, "
                "which has no such choice. Leave it out"
            )


def _num_heads(width: int) -> int:
    if width % _HEAD_WIDTH:
        raise UserError(
            f"the image tower attends with width {width}, which heads of width {_HEAD_WIDTH} do not fill; "
            "say their number with vision_heads"
        )
    return width // _HEAD_WIDTH
