"""The few places where versions and devices of Paddle differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import paddle


def process_store() -> Any:
    """The key-value store that the processes of a run found each other by; `add(key, n)` returns the new sum."""
    import paddle

    return paddle.base.core.create_or_get_global_tcp_store()


def has_fused_attention(query: paddle.Tensor) -> bool:
    """Whether Paddle's `scaled_dot_product_attention` has a fused kernel for queries like this one.

    It needs half precision and a GPU of compute capability 8.0 or more. Elsewhere Paddle 2.6 has no kernel at all and
    3.x computes the plain formula.
    """
    import paddle  # here, because the room is imported by programs that do not need Paddle

    if query.dtype not in (paddle.float16, paddle.bfloat16) or not paddle.in_dynamic_mode():
        return False
    return query.place.is_gpu_place() and paddle.device.cuda.get_device_capability() >= (8, 0)
