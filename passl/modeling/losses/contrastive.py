"""The contrastive loss of CLIP, split by rows.

Paper: Radford et al., arXiv:2103.00020, figure 3. The loss of a batch is the mean, over both directions and all rows of
the similarity matrix, of the cross-entropy with the matching column as the right class. Rows can be summed anywhere,
only the columns must be complete: each process takes its own rows against the columns of all, and the sum over processes
is the loss of the whole batch, gradients included.
"""

from __future__ import annotations

from typing import Tuple

import paddle
import paddle.nn.functional as F

from passl.modeling.layers import at_least_float32, without_autocast


def contrastive_rows(
    rows: paddle.Tensor, columns: paddle.Tensor, scale: paddle.Tensor, first_row: int
) -> Tuple[paddle.Tensor, paddle.Tensor]:
    """Cross-entropy of these rows against all columns, summed, and how many rows are nearest to their own column.

    Args:
        rows: [b, E] unit length, rows `first_row` to `first_row + b` of the whole batch.
        columns: [B, E] unit length, the whole batch in the other modality.
        scale: [] the factor on cosines, 1 / temperature.
        first_row: where `rows` stand in the batch.

    Returns:
        the sum of the losses [], and the number of right rows [], which has no gradient.
    """
    with without_autocast():
        rows, columns = at_least_float32(rows), at_least_float32(columns)
        logits = scale.astype(rows.dtype) * paddle.matmul(rows, columns, transpose_y=True)  # [b, B]
        matching = paddle.arange(first_row, first_row + rows.shape[0], dtype="int64")  # [b]
        loss_sum = F.cross_entropy(logits, matching, reduction="sum")
        num_right = (logits.detach().argmax(axis=-1) == matching).astype(rows.dtype).sum()
    return loss_sum, num_right
