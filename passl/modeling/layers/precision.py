"""Where precision is decided by name: what must be float32 or wider, whatever the towers compute in."""

from __future__ import annotations

from typing import ContextManager

import paddle


def at_least_float32(x: paddle.Tensor) -> paddle.Tensor:
    """`x` in float32 if it is narrower; float32 and float64 stay."""
    return x.astype("float32") if x.dtype in (paddle.float16, paddle.bfloat16) else x


def mean_in_float32(x: paddle.Tensor, axis: int, keepdim: bool = False) -> paddle.Tensor:
    """The mean of `x` along an axis, summed in float32 or wider, in the dtype of `x`."""
    return at_least_float32(x).mean(axis=axis, keepdim=keepdim).astype(x.dtype)


def without_autocast() -> ContextManager:
    """The context in which products are computed in the dtype of what is multiplied."""
    return paddle.amp.auto_cast(enable=False)


def unit_length(x: paddle.Tensor) -> paddle.Tensor:
    """Rows of `x` [B, E] divided by their Euclidean norms, in float32 or wider. A row of zeros stays zero."""
    with without_autocast():
        x = at_least_float32(x)
        # Kept above zero before the root: its gradient at zero is infinite.
        squared_norm = (x * x).sum(axis=-1, keepdim=True).clip(min=1e-24)
        return x * squared_norm.rsqrt()
