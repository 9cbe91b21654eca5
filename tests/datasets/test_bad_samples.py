"""The list of bad samples and its cap."""

import json

import pytest

from passl.datasets import BadSampleLog
from passl.utils.errors import UserError


def fault(index, reason="an empty file"):
    return {"index": index, "path": f"{index}.jpg", "reason": reason}


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_each_sample_stands_once(tmp_path):
    log = BadSampleLog(tmp_path / "bad.jsonl", 100, 0.1)
    log.add([fault(3), fault(5), fault(3)])
    log.add([fault(5), fault(8)])
    assert lines(tmp_path / "bad.jsonl") == [fault(3), fault(5), fault(8)] and len(log) == 3


def test_no_file_is_made_without_faults(tmp_path):
    BadSampleLog(tmp_path / "bad.jsonl", 100, 0.1).add([])
    assert not list(tmp_path.iterdir())


def test_existing_file_is_continued(tmp_path):
    BadSampleLog(tmp_path / "bad.jsonl", 100, 0.1).add([fault(3)])
    log = BadSampleLog(tmp_path / "bad.jsonl", 100, 0.1)
    log.add([fault(3), fault(4)])
    assert lines(tmp_path / "bad.jsonl") == [fault(3), fault(4)] and len(log) == 2


def test_line_that_a_kill_left_unfinished_is_cut_off(tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps(fault(1)) + "\n" + '{"index": 2, "pa')
    BadSampleLog(path, 100, 0.1).add([fault(2)])
    assert lines(path) == [fault(1), fault(2)]


def test_process_that_does_not_write_only_counts(tmp_path):
    log = BadSampleLog(tmp_path / "bad.jsonl", 100, 0.1, writes=False)
    log.add([fault(1)])
    assert len(log) == 1 and not list(tmp_path.iterdir())


def test_path_that_is_not_utf8_is_written_and_read(tmp_path):
    odd = {"index": 1, "path": "\udcff猫.jpg", "reason": "x"}
    BadSampleLog(tmp_path / "bad.jsonl", 100, 0.1).add([odd])
    assert "猫".encode() in (tmp_path / "bad.jsonl").read_bytes()
    assert len(BadSampleLog(tmp_path / "bad.jsonl", 100, 0.1)) == 1


def test_cap_is_reached_but_not_passed_without_error(tmp_path):
    log = BadSampleLog(tmp_path / "bad.jsonl", 100, 0.05)
    log.add(fault(index) for index in range(5))
    with pytest.raises(UserError):
        log.add([fault(5)])


def test_passing_the_cap_names_counts_reasons_and_the_way_out(tmp_path):
    log = BadSampleLog(tmp_path / "bad.jsonl", 1000, 0.01)
    faults = [fault(index) for index in range(8)] + [fault(index, "not UTF-8") for index in range(8, 20)]
    with pytest.raises(UserError) as caught:
        log.add(faults)
    message = str(caught.value)
    assert "20 of 1000 samples cannot be used, more than max_bad_fraction = 0.01 allows" in message
    assert message.index("12 x not UTF-8, such as 8.jpg") < message.index("8 x an empty file, such as 0.jpg")
    assert "data.train.max_bad_fraction=0.04" in message
    assert len(lines(tmp_path / "bad.jsonl")) == 20


def test_fraction_of_zero_stops_at_the_first(tmp_path):
    with pytest.raises(UserError, match="1 of 50 samples"):
        BadSampleLog(tmp_path / "bad.jsonl", 50, 0.0).add([fault(1)])
