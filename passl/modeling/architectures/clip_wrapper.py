"""What the engine trains: two towers and the head that makes their loss."""

from __future__ import annotations

from typing import Annotated, Any, Dict, Mapping, Optional, Union

import paddle
from paddle import nn

from passl.modeling.heads import CLIPHead
from passl.modeling.losses import LossPart, total_loss
from passl.utils.errors import UserError
from passl.utils.registry import ARCHITECTURES, HEADS, MODELS

DEFAULT_HEAD = {"name": CLIPHead.__name__}


@MODELS.register()
class CLIPWrapper(nn.Layer):
    """A network under `.model` and a head under `.head`.

    Args:
        architecture: the network.
        head: what makes the loss of its features.
        architectual: the old spelling of `architecture`, which old notebooks use.

    Example:
        >>> arch = {"name": "CLIP", "embed_dim": 512, "image_resolution": 224, "vision_layers": 12, "vision_width": 768,
        ...         "vision_patch_size": 32}
        >>> model = CLIPWrapper(architecture=arch, head={"name": "CLIPHead"})  # doctest: +SKIP
        >>> model.model.encode_image(image)  # doctest: +SKIP
    """

    def __init__(
        self,
        architecture: Optional[Annotated[dict, ARCHITECTURES]] = None,
        head: Annotated[dict, HEADS] = DEFAULT_HEAD,
        architectual: Optional[Annotated[dict, ARCHITECTURES]] = None,
    ) -> None:
        super().__init__()
        if (architecture is None) == (architectual is None):
            raise UserError(
                "CLIPWrapper needs `architecture` or its old spelling `architectual`, and only one of the two"
            )
        self.model = ARCHITECTURES.build(architecture or architectual)
        if self.model.visual is None or self.model.text is None:
            raise UserError("CLIPWrapper trains pairs, and its architecture has one tower only: give image and text")
        self.head = HEADS.build(head)

    @property
    def row_independent_loss(self) -> bool:
        """Whether the loss of a batch is the mean of its pairs' own losses, so that it may be accumulated in parts."""
        return self.head.row_independent

    def features(self, batch: Mapping[str, paddle.Tensor]) -> Dict[str, paddle.Tensor]:
        """Embeddings `image` and `text` [B, E] of unit length, in float32 or wider; each row depends on its own pair.

        Args:
            batch: `image` [B, 3, height, width] and `text` [B, L].
        """
        return {
            "image": self.model.encode_image(batch["image"], normalize=True),
            "text": self.model.encode_text(batch["text"], normalize=True),
        }

    def losses(
        self,
        features: Mapping[str, paddle.Tensor],
        batch: Mapping[str, paddle.Tensor],  # noqa: ARG002 (part of the contract with the engine)
    ) -> Dict[str, Union[LossPart, paddle.Tensor]]:
        """The named parts of the loss, and `loss`: what they come to in this process."""
        parts = self.head(features["image"], features["text"], self.model.logit_scale)
        return {**parts, "loss": total_loss(parts)}

    def forward(self, batch: Mapping[str, paddle.Tensor]) -> Dict[str, Union[LossPart, paddle.Tensor]]:
        """`losses` of the batch's `features`."""
        return self.losses(self.features(batch), batch)

    def constrain(self) -> None:
        """Puts parameters back into their allowed range; the engine calls it after every optimizer step."""
        self.model.clamp_logit_scale()

    def set_state_dict(self, state_dict: Mapping[str, Any]):
        """Takes over the network's weights, as `DualEncoder.set_state_dict` does; the head has none."""
        return self.model.set_state_dict(state_dict)

    set_dict = load_dict = set_state_dict
