"""Ranks, collectives (with and without gradient) and the starting of several processes, all through `paddle.distributed`.

Imports only from `passl.utils`; losses and engine build on it. With one process every collective is the identity.
"""

from passl.distributed.collectives import (
    all_gather_rows,
    all_reduce_gradients,
    all_reduce_sum,
    barrier,
    broadcast_tensors,
    gather_objects,
)
from passl.distributed.environment import finish, rank, start, world_size

__all__ = [
    "all_gather_rows",
    "all_reduce_gradients",
    "all_reduce_sum",
    "barrier",
    "broadcast_tensors",
    "finish",
    "gather_objects",
    "rank",
    "start",
    "world_size",
]
