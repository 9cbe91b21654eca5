"""Values with arrays through a pipe."""

import multiprocessing
import os
import threading

import numpy as np
import pytest

from passl.datasets import pipes


def passed(value):
    ours, theirs = multiprocessing.Pipe()
    sender = threading.Thread(target=pipes.send, args=(theirs, value))
    sender.start()
    received = pipes.receive(ours)
    sender.join()
    return received


@pytest.mark.parametrize(
    "array",
    [
        np.arange(2**20, dtype=np.float32).reshape(64, -1),
        np.zeros((0, 3)),
        np.array(3.0),
        np.asfortranarray(np.arange(12).reshape(3, 4)),
        np.arange(24).reshape(4, 6)[::2, 1::2],
        np.array(["a", None], object),
    ],
    ids=["large", "empty", "scalar", "fortran", "strided", "objects"],
)
def test_array_arrives_as_it_was_and_can_be_written(array):
    received = passed({"array": array})["array"]
    assert received.dtype == array.dtype and received.shape == array.shape and (received == array).all()
    received[...] = received


def test_values_arrive_one_after_the_other():
    ours, theirs = multiprocessing.Pipe()
    for number in range(3):
        pipes.send(theirs, {"number": number, "array": np.full(100, number), "list": [{"path": "猫"}]})
    for number in range(3):
        value = pipes.receive(ours)
        assert value["number"] == number and (value["array"] == number).all() and value["list"] == [{"path": "猫"}]


def test_exception_with_its_message_arrives():
    assert str(passed((False, ValueError("no")))[1]) == "no"


def test_end_in_the_middle_of_an_array_is_an_error():
    ours, theirs = multiprocessing.Pipe()
    theirs.send((b"", [1000]))
    os.write(theirs.fileno(), b"x" * 10)
    theirs.close()
    with pytest.raises(EOFError):
        pipes.receive(ours)
