"""CLIP's loss over the batches of all processes."""

from __future__ import annotations

from typing import Dict

import paddle
from paddle import nn

from passl.distributed import all_gather_rows, rank
from passl.modeling.losses import LossPart, contrastive_rows
from passl.utils.registry import HEADS


@HEADS.register("ClipHead", "ClipCNHead")
class CLIPHead(nn.Layer):
    """Image-to-text and text-to-image cross-entropy, each with weight one half; every other pair is a negative.

    Negatives come from all processes: each compares its own images with everybody's texts and its own texts with
    everybody's images.
    """

    # The loss of a pair depends on the other pairs: a batch cannot be cut into parts that know nothing of each other.
    row_independent = False

    def forward(self, image: paddle.Tensor, text: paddle.Tensor, logit_scale: paddle.Tensor) -> Dict[str, LossPart]:
        """The parts `img_loss`, `text_loss` and, only to be logged, `batch_accuracy` (of the images) and `logit_scale`.

        Args:
            image: [b, E] unit length, this process's images.
            text: [b, E] unit length, their texts.
            logit_scale: [] natural logarithm of the factor on cosines.
        """
        all_images, all_texts = all_gather_rows(image), all_gather_rows(text)  # [B, E] each
        num_rows = image.shape[0]
        first_row = rank() * num_rows
        scale = logit_scale.exp()
        image_sum, num_right = contrastive_rows(image, all_texts, scale, first_row)
        text_sum, _ = contrastive_rows(text, all_images, scale, first_row)
        return {
            "img_loss": LossPart(image_sum, num_rows, 0.5),
            "text_loss": LossPart(text_sum, num_rows, 0.5),
            "batch_accuracy": LossPart(num_right, num_rows, 0.0),
            "logit_scale": LossPart(scale.detach(), 1.0, 0.0),
        }
