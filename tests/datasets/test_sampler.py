"""Positions: each sample once an epoch, the same for any number of processes, from any step."""

import itertools

import pytest

from passl.datasets import PositionSampler
from passl.utils.errors import UserError


def steps(count, **keys):
    return list(itertools.islice(PositionSampler(**keys), count))


def test_epoch_takes_each_sample_at_most_once():
    batches = steps(3, num_samples=10, batch_size=3)
    indices = [index for batch in batches for _, index in batch]
    assert len(set(indices)) == 9 and set(indices) <= set(range(10))


def test_what_is_left_out_changes_from_epoch_to_epoch():
    left_out = set()
    for epoch in range(20):
        batches = steps(3, num_samples=10, batch_size=3, start_step=3 * epoch)
        assert {position[0] for batch in batches for position in batch} == {epoch}
        left_out |= set(range(10)) - {index for batch in batches for _, index in batch}
    assert len(left_out) > 5


def test_order_changes_with_epoch_and_seed_and_with_nothing_else():
    first, again = (steps(5, num_samples=10, batch_size=2, seed=4) for _ in range(2))
    other_seed = steps(5, num_samples=10, batch_size=2, seed=5)
    next_epoch = steps(5, num_samples=10, batch_size=2, seed=4, start_step=5)
    orders = [[index for batch in batches for _, index in batch] for batches in (first, again, other_seed, next_epoch)]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2] and orders[0] != orders[3]


@pytest.mark.parametrize("start", [0, 1, 4, 5, 7, 23])
def test_starting_at_a_step_equals_arriving_there(start):
    whole = steps(30, num_samples=11, batch_size=2, seed=1)
    assert steps(30 - start, num_samples=11, batch_size=2, seed=1, start_step=start) == whole[start:]


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_parts_of_all_processes_are_the_batch_of_one(world_size):
    whole = steps(8, num_samples=20, batch_size=6, seed=2)
    parts = [
        steps(8, num_samples=20, batch_size=6 // world_size, seed=2, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    assert [sum(same_step, []) for same_step in zip(*parts)] == whole


def test_iteration_ends_at_total_steps():
    assert len(list(PositionSampler(10, 5, start_step=3, total_steps=9))) == 6


def test_without_shuffling_the_order_is_that_of_the_source():
    assert steps(3, num_samples=5, batch_size=2, shuffle=False) == [
        [(0, 0), (0, 1)],
        [(0, 2), (0, 3)],
        [(1, 0), (1, 1)],
    ]


def test_order_is_the_recorded_one():
    # A resumed run depends on it: it may not change from one version of ours, or of NumPy, to the next.
    assert steps(2, num_samples=7, batch_size=3, seed=0) == [
        [(0, 2), (0, 4), (0, 3)],
        [(0, 6), (0, 5), (0, 0)],
    ]


def test_fewer_samples_than_a_global_batch_are_an_error():
    with pytest.raises(
        UserError, match=r"7 samples are fewer than the global batch of 8 \(4 per process, 2 processes\)"
    ):
        PositionSampler(7, 4, world_size=2)
