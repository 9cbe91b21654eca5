"""Collectives that the losses, the step and the evaluators use.

gloo offers neither reduce-scatter nor all-to-all, so everything here stands on all-gather, all-reduce and broadcast. It
also gives up after 30 seconds of waiting; `barrier` has no such limit, and stands before whatever follows unequal work.
"""

from __future__ import annotations

import itertools
import json
import time
from typing import Any, Callable, Iterable, Iterator, List, Sequence

import numpy as np
import paddle
import paddle.distributed as dist
from paddle.autograd import PyLayer

from passl.distributed.environment import rank, world_size
from passl.utils.compat import process_store
from passl.utils.errors import UserError

_BARRIER_SECONDS = 3600.0
_BARRIER_NUMBERS = itertools.count()
_BUCKET_SIZE = 16 * 2**20  # elements; 64 MiB in float32


class PeerLost(UserError):
    """Another process of the run ended or does not answer."""


def _exchange(collective: Callable[..., Any], *tensors: Any, **options: Any) -> None:
    """Calls a collective of Paddle's; its many kinds of failure all mean that another process is gone."""
    try:
        collective(*tensors, **options)
    except (RuntimeError, OSError, SystemError) as error:
        raise PeerLost("the connection to another process is lost; its own message says why it ended") from error


class _AllGatherRows(PyLayer):
    """Forward: rows of all processes. Backward: every process used every row, so the gradients of a row are summed."""

    @staticmethod
    def forward(ctx, rows):
        ctx.num_rows = rows.shape[0]
        gathered: List[paddle.Tensor] = []
        _exchange(dist.all_gather, gathered, rows)
        return paddle.concat(gathered)

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.clone()
        _exchange(dist.all_reduce, gradient)
        first = rank() * ctx.num_rows
        return gradient[first : first + ctx.num_rows]


def all_gather_rows(rows: paddle.Tensor) -> paddle.Tensor:
    """The rows of all processes, in the order of ranks: [b, ...] -> [world_size · b, ...].

    Differentiable: a row's gradient is the sum of what all processes made of it. Every process must hold equally many rows.
    """
    if world_size() == 1:
        return rows
    if rows.stop_gradient:
        gathered: List[paddle.Tensor] = []
        _exchange(dist.all_gather, gathered, rows)
        return paddle.concat(gathered)
    return _AllGatherRows.apply(rows)


def all_reduce_sum(tensor: paddle.Tensor) -> paddle.Tensor:
    """The sum of `tensor` over all processes, as a new tensor without gradient."""
    if world_size() == 1:
        return tensor
    total = tensor.detach().clone()
    _exchange(dist.all_reduce, total)
    return total


def all_reduce_gradients(gradients: Sequence[paddle.Tensor]) -> None:
    """Sums each gradient over all processes, in place. They travel in a few large messages rather than one each."""
    if world_size() == 1:
        return
    with paddle.no_grad():
        for bucket in _buckets(gradients):
            flat = paddle.concat([gradient.reshape([-1]) for gradient in bucket])
            _exchange(dist.all_reduce, flat)
            for gradient, piece in zip(bucket, flat.split([gradient.size for gradient in bucket])):
                paddle.assign(piece.reshape(gradient.shape), output=gradient)


def _buckets(tensors: Sequence[paddle.Tensor]) -> Iterator[List[paddle.Tensor]]:
    """Runs of tensors of one type, each run of about `_BUCKET_SIZE` elements."""
    bucket: List[paddle.Tensor] = []
    size = 0
    for tensor in tensors:
        if bucket and (size + tensor.size > _BUCKET_SIZE or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += int(tensor.size)
    if bucket:
        yield bucket


def broadcast_tensors(tensors: Iterable[paddle.Tensor]) -> None:
    """Gives `tensors` the values that they have in process 0, in place."""
    if world_size() == 1:
        return
    for tensor in tensors:
        value = tensor.detach().clone()
        # gloo has no zero-dimensional broadcast in every version; one element in one dimension is the same bytes.
        flat = value.reshape([-1])
        _exchange(dist.broadcast, flat, src=0)
        with paddle.no_grad():
            tensor.set_value(flat.reshape(value.shape))


def gather_objects(value: Any) -> list:
    """`value` (anything JSON can hold) of every process, in the order of ranks."""
    if world_size() == 1:
        return [value]
    encoded = np.frombuffer(json.dumps(value).encode("utf-8"), dtype="uint8")
    sizes = all_gather_rows(paddle.to_tensor([encoded.size], dtype="int64")).numpy()
    padded = np.zeros(int(sizes.max()), dtype="int32")
    padded[: encoded.size] = encoded
    rows = all_gather_rows(paddle.to_tensor(padded).unsqueeze(0)).numpy()
    return [json.loads(row[:size].astype("uint8").tobytes()) for row, size in zip(rows, sizes)]


def barrier() -> None:
    """Waits until every process is here, for an hour at the most.

    Raises:
        PeerLost: not all came.
    """
    if world_size() > 1:
        count_to(world_size(), f"passl/barrier/{next(_BARRIER_NUMBERS)}")


def count_to(number: int, key: str, step: int = 1) -> None:
    """Adds `step` to a counter that all processes share, and waits until it stands at `number`."""
    store, deadline = process_store(), time.monotonic() + _BARRIER_SECONDS
    store.add(key, step)
    while int(store.add(key, 0)) < number:
        if time.monotonic() > deadline:
            raise PeerLost(f"waited {_BARRIER_SECONDS:.0f} s for the other processes; at least one does not answer")
        time.sleep(0.01)
