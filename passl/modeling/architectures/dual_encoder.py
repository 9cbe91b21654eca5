"""Two towers whose embeddings share one space: CLIP, SigLIP and everything between.

Papers: Radford et al. (CLIP), arXiv:2103.00020; Zhai et al. (SigLIP), arXiv:2303.15343. Original code: openai/CLIP,
google-research/big_vision; the numbers equal theirs for the same weights.

            what the logits are                    scale starts from    bias starts from
    CLIP    exp(logit_scale) · cosine              1 / 0.07             (none)
    SigLIP  exp(logit_scale) · cosine + bias       10                   -10

Shape letters: B batch, L tokens, E embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Dict, Literal, Mapping, Optional, Tuple

import paddle
from paddle import nn

from passl.checkpoint import LoadReport, from_family, implied_activation, layer_arrays, load_into, save_model_folder
from passl.config import build
from passl.distributed.environment import num_local_processes
from passl.modeling.layers import constant, known_mlp_width, new_parameter, unit_length, without_autocast
from passl.tokenizers import ClipTokenizer, Tokenizer, build_tokenizer
from passl.utils.constants import INIT_LOGIT_SCALE, MAX_LOGIT_SCALE, OPENAI_MEAN, OPENAI_STD
from passl.utils.cpu import configure_cpu
from passl.utils.errors import UserError
from passl.utils.registry import ARCHITECTURES, BACKBONES, TOKENIZERS


@dataclass(frozen=True)
class _Parts:
    """Holds the parts of a network while they are checked as those in a config are."""

    image: Optional[Annotated[dict, BACKBONES]]
    text: Optional[Annotated[dict, BACKBONES]]
    tokenizer: Optional[Annotated[dict, TOKENIZERS]]


@ARCHITECTURES.register()
class DualEncoder(nn.Layer):
    """An image tower, a text tower and a temperature; one of the towers may be missing.

    `spec` says as plain data what the model is: `architecture` (this class's node with every key filled in, whichever
    way the model was described), `preprocessing` of the images (its size is null without an image tower) and `tokenizer`
    (null without a text tower).

    Args:
        embed_dim: E, width of the space shared by images and texts.
        image: the image tower; null for a model of texts alone.
        text: the text tower; null for a model of images alone.
        init_logit_scale: logarithm of the factor on the cosines that a new model starts from.
        init_logit_bias: what is added to the logits of a new model; null means that nothing ever is.
        image_mean: mean of each colour (red, green, blue) that images are normalised with, for pixels from 0 to 1.
        image_std: standard deviation of each colour.
        image_interpolation: how images are resized.
        image_resize_mode: shortest resizes the short side and cuts out the centre, squash resizes both sides.
        tokenizer: what makes token ids, in rows as long as the text tower takes them; null is CLIP's.
    """

    def __init__(
        self,
        embed_dim: int,
        image: Optional[Annotated[dict, BACKBONES]],
        text: Optional[Annotated[dict, BACKBONES]],
        init_logit_scale: float = INIT_LOGIT_SCALE,
        init_logit_bias: Optional[float] = None,
        image_mean: Tuple[float, float, float] = OPENAI_MEAN,
        image_std: Tuple[float, float, float] = OPENAI_STD,
        image_interpolation: Literal["bicubic", "bilinear"] = "bicubic",
        image_resize_mode: Literal["shortest", "squash"] = "shortest",
        tokenizer: Optional[Annotated[dict, TOKENIZERS]] = None,
    ) -> None:
        super().__init__()
        configure_cpu(num_local_processes())
        parts = build(_Parts, {"image": image, "text": text, "tokenizer": tokenizer})
        image, text = _tower_node("image", parts.image), _tower_node("text", parts.text)
        if image is None and text is None:
            raise UserError("image and text are both null; a model has at least one tower")
        # Where the tokenizer's files are is no part of what the model is.
        self.tokenizer_folder = (parts.tokenizer or {}).pop("folder", None)
        has_logits = image is not None and text is not None
        self.spec: Dict[str, Any] = {
            "architecture": {
                "name": DualEncoder.__name__,
                "embed_dim": embed_dim,
                "image": image,
                "text": text,
                "init_logit_scale": init_logit_scale,
                "init_logit_bias": init_logit_bias,
            },
            "preprocessing": {
                "size": None if image is None else image["image_size"],
                "mean": list(image_mean),
                "std": list(image_std),
                "interpolation": image_interpolation,
                "resize_mode": image_resize_mode,
            },
            "tokenizer": _tokenizer_spec(parts.tokenizer, text),
        }
        _check_colours(self.spec["preprocessing"])
        self.visual = None if image is None else BACKBONES.build(image, embed_dim)
        self.text = None if text is None else BACKBONES.build(text, embed_dim)
        self.logit_scale = new_parameter(self, [], constant(init_logit_scale)) if has_logits else None
        has_bias = has_logits and init_logit_bias is not None
        self.logit_bias = new_parameter(self, [], constant(init_logit_bias)) if has_bias else None

    def encode_image(self, image: paddle.Tensor, normalize: bool = False) -> paddle.Tensor:
        """Embeddings of images.

        Args:
            image: [B, 3, height, width] floating-point, as the model's transform makes them.
            normalize: divide each embedding by its length; then the result is float32 or wider.

        Returns:
            [B, E]

        Raises:
            UserError: images of another shape or dtype, or a model without an image tower.
        """
        features = self.tower("image")(image)
        return unit_length(features) if normalize else features

    def encode_text(self, text: paddle.Tensor, normalize: bool = False) -> paddle.Tensor:
        """Embeddings of texts.

        Args:
            text: [B, L] token ids, as the model's tokenizer makes them.
            normalize: divide each embedding by its length; then the result is float32 or wider.

        Returns:
            [B, E]

        Raises:
            UserError: ids of another shape, dtype or vocabulary, or a model without a text tower.
        """
        features = self.tower("text")(text)
        return unit_length(features) if normalize else features

    def forward(self, image: paddle.Tensor, text: paddle.Tensor) -> Tuple[paddle.Tensor, paddle.Tensor]:
        """Cosines of B images with C texts, times the learned scale, plus the bias where there is one.

        Returns:
            by image [B, C], and by text [C, B].

        Raises:
            UserError: as `encode_image` and `encode_text`.
        """
        image_features = self.encode_image(image, normalize=True)  # [B, E]
        text_features = self.encode_text(text, normalize=True)  # [C, E]
        with without_autocast():
            cosines = paddle.matmul(image_features, text_features, transpose_y=True)  # [B, C]
            logits_per_image = self.logit_scale.exp().astype(cosines.dtype) * cosines
            if self.logit_bias is not None:
                logits_per_image = logits_per_image + self.logit_bias.astype(cosines.dtype)
        return logits_per_image, logits_per_image.t()

    def clamp_logit_scale(self) -> None:
        """Puts the logarithm of the scale back to at most ln 100, in place. For after an optimizer step."""
        if self.logit_scale is None:
            return
        with paddle.no_grad():
            self.logit_scale.set_value(self.logit_scale.clip(max=MAX_LOGIT_SCALE))

    @property
    def activations(self) -> Tuple[str, ...]:
        """The nonlinearities that the weights belong to, each once; of towers that have a choice."""
        nodes = (self.spec["architecture"][tower] or {} for tower in ("image", "text"))
        return tuple(sorted({node["activation"] for node in nodes if "activation" in node}))

    def set_state_dict(self, state_dict: Mapping[str, Any]) -> LoadReport:
        """Takes over weights, all of them or none.

        Args:
            state_dict: arrays or tensors by name, in any layout that `passl.checkpoint` knows; also with the prefix
                `model.` and an outer dictionary whose key is `state_dict`.

        Returns:
            what became of each name.

        Raises:
            UserError: weights of another activation, where their layout implies one; names that are missing, unexpected
                or wrongly shaped, listed. Nothing is changed then.
        """
        recognised = from_family(state_dict)
        implied = implied_activation(recognised.family)
        if implied is not None and set(self.activations) - {implied}:
            raise UserError(
                f"the given state dict (layout {recognised.family}) was trained with activation {implied!r} and this "
                f"model has {' and '.join(map(repr, self.activations))}: it would run and give worse features. Build "
                f"the model that the weights belong to (names that end in -quickgelu have 'quick_gelu')"
            )
        return load_into(self, recognised.arrays, source="the given state dict")

    # Paddle knows the method by these names too; left alone they would be the ones that only warn.
    set_dict = load_dict = set_state_dict

    def make_tokenizer(self) -> Tokenizer:
        """The tokenizer that the text tower was made for.

        Raises:
            UserError: a model without a text tower, or a tokenizer whose files are not known.
        """
        self.tower("text")
        return build_tokenizer(self.spec["tokenizer"], folder=self.tokenizer_folder)

    def save_pretrained(self, folder: str, tokenizer: Optional[Tokenizer] = None) -> None:
        """Writes a model folder that `passl.create_model(folder)` reads: weights, specification, tokenizer.

        Args:
            folder: new, empty, or a model folder, which is replaced.
            tokenizer: the model's, where it is made of files that the model does not know of; else it is made anew.

        Raises:
            UserError: other files in the folder, another model's tokenizer, or a tokenizer whose files are not known.
        """
        if tokenizer is not None:
            self._check_tokenizer(tokenizer)
        elif self.text is not None:
            tokenizer = self._tokenizer_with_files()
        save_model_folder(folder, layer_arrays(self), self.spec, tokenizer)

    def tower(self, modality: Literal["image", "text"]) -> nn.Layer:
        """The tower for images or texts. Raises `UserError` if the model has none."""
        tower = self.visual if modality == "image" else self.text
        if tower is None:
            raise UserError(
                f"this model has no {modality} tower: it was built with {modality}: null, or from weights of its other "
                "tower alone"
            )
        return tower

    def _tokenizer_with_files(self) -> Tokenizer:
        tokenizer = self.make_tokenizer()
        try:
            tokenizer.vocab_size  # noqa: B018 (reads the files)
        except UserError as error:
            raise UserError(
                f"a model folder holds its tokenizer. {error}; or give it: save_pretrained(folder, tokenizer=...)"
            ) from None
        return tokenizer

    def _check_tokenizer(self, tokenizer: Tokenizer) -> None:
        own, given = self.spec["tokenizer"] or {}, tokenizer.spec
        for key in ("name", "context_length"):
            if given[key] != own.get(key):
                raise UserError(
                    f"the tokenizer to save has {key} {given[key]!r} and this model was built for {own.get(key)!r}; "
                    "give the model's own"
                )


def architecture_from_spec(spec: Mapping[str, Mapping[str, Any]]) -> Dict[str, Any]:
    """The registry's node, `name` and all arguments, for the model whose `spec` this is."""
    preprocessing, tokenizer = spec["preprocessing"], spec["tokenizer"]
    node = {
        **spec["architecture"],
        "image_mean": preprocessing["mean"],
        "image_std": preprocessing["std"],
        "image_interpolation": preprocessing["interpolation"],
        "image_resize_mode": preprocessing["resize_mode"],
    }
    if node["name"] != DualEncoder.__name__:  # the first folders have the flat spelling, which has CLIP's tokenizer
        return node
    # The rows are as long as the text tower takes them.
    settings = {key: value for key, value in (tokenizer or {}).items() if key != "context_length"}
    return {**node, "tokenizer": settings or None}


def shapes_of(node: Mapping[str, Any], with_statistics: bool = True) -> Dict[str, Tuple[int, ...]]:
    """The shape of each array of a model, by name; none of them is allocated.

    Args:
        node: the `architecture` section of a config, `name` and arguments.
        with_statistics: also the running means and variances of batch norms, which are no parameters.

    Example:
        >>> import math
        >>> from passl.zoo import architecture_of
        >>> shapes = shapes_of(architecture_of("ViT-B-32"), with_statistics=False)
        >>> sum(math.prod(shape) for shape in shapes.values())
        151277313
    """
    with paddle.LazyGuard():
        state = ARCHITECTURES.build(node).state_dict()
    return {name: tuple(value.shape) for name, value in state.items() if with_statistics or not value.stop_gradient}


def _tower_node(modality: str, node: Optional[Mapping[str, Any]]) -> Optional[Dict[str, Any]]:
    """The node of a tower with nothing left open. Raises `UserError` if it is of the other modality."""
    if node is None:
        return None
    found = BACKBONES.get(node["name"]).modality
    if found != modality:
        raise UserError(f"{modality}: {node['name']} is a tower for {found}s")
    if "mlp_width" in node:
        return {**node, "mlp_width": known_mlp_width(node["mlp_width"], node["width"])}
    return dict(node)


def _tokenizer_spec(node: Optional[Mapping[str, Any]], text: Optional[Mapping[str, Any]]) -> Optional[Dict[str, Any]]:
    """What a specification says of the tokenizer: its node, and the length of the rows that the tower takes."""
    if text is None:
        if node is not None:
            raise UserError(f"tokenizer: {node['name']} is given and text is null; leave the tokenizer out")
        return None
    return {**(node or {"name": ClipTokenizer.__name__}), "context_length": text["context_length"]}


def _check_colours(preprocessing: Mapping[str, Any]) -> None:
    for name in ("mean", "std"):
        if len(preprocessing[name]) != 3:
            raise UserError(f"image_{name} has one number for each of red, green and blue, not {preprocessing[name]}")
    if min(preprocessing["std"]) <= 0:
        raise UserError(f"image_std is {preprocessing['std']}; images are divided by it, so each number is above 0")
