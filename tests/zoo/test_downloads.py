"""Files from a server on this machine: whole and unaltered, or not at all."""

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from passl.utils.errors import UserError
from passl.utils.files import UNFINISHED
from passl.zoo import downloads, web
from passl.zoo.downloads import cache_folder, cache_path, fetch
from passl.zoo.web import FetchError, source_of

BODY = random.Random(0).randbytes(300_000)
OTHER = random.Random(1).randbytes(300_000)
HASH = hashlib.sha256(BODY).hexdigest()
PATH = "/weights/model.pt"
FETCH = "import sys; from passl.zoo.downloads import fetch; print(fetch(*sys.argv[1:]))"


@pytest.fixture
def address(server, cache):
    """The address of a file that the server has."""
    server.files[PATH] = BODY
    return server.address + PATH


def left_in(cache):
    """The files in the cache, by name."""
    return sorted(path.name for path in cache.rglob("*") if path.is_file())


def broken_off(server, address, after):
    """A download that stops after so many bytes, as if the network had gone; they wait in the cache."""
    server.cuts[:] = [after] + [0] * (downloads._ATTEMPTS - 1)
    with pytest.raises(FetchError, match="broke off"):
        fetch(address)
    server.requests.clear()
    server.num_bytes = 0


def start(address, *hashes):
    """`fetch` in a process of its own, with this process's environment."""
    root = str(Path(__file__).resolve().parents[2])
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, address, *hashes],
        env={**os.environ, "PYTHONPATH": root},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# --- Whole files -----------------------------------------------------------------------------------------------------


def test_fetch_brings_the_file_and_asks_once(server, address, cache):
    path = fetch(address, HASH)
    assert path.read_bytes() == BODY
    assert path == cache_path(address)
    assert fetch(address, HASH) == fetch(address) == path
    assert len(server.requests) == 1
    assert left_in(cache) == ["model.pt"]


def test_fetch_takes_the_first_digits_of_a_hash(address):
    assert fetch(address, HASH[:8]).read_bytes() == BODY


@pytest.mark.parametrize("sha256", ["", HASH[:7], HASH.upper(), HASH + "0", "not a hash"])
def test_fetch_refuses_what_is_no_hash(server, address, sha256):
    with pytest.raises(UserError, match="8 to 64 hexadecimal digits"):
        fetch(address, sha256)
    assert not server.requests


def test_fetch_takes_a_file_in_pieces_of_unknown_number(server, address):
    server.with_length = False
    assert fetch(address, HASH).read_bytes() == BODY


def test_fetch_refuses_a_file_whose_end_nothing_tells(server, address, cache):
    server.with_length = False
    with pytest.raises(FetchError, match="does not say how long"):
        fetch(address)
    assert left_in(cache) == []


def test_fetch_takes_an_empty_file(server, address):
    server.files[PATH] = b""
    assert fetch(address).read_bytes() == b""


# --- Broken-off and altered files ------------------------------------------------------------------------------------


def test_broken_off_download_goes_on_within_the_same_call(server, address, cache):
    server.cuts[:] = [100_000, 50_000]
    assert fetch(address, HASH).read_bytes() == BODY
    assert server.ranges == [None, "bytes=100000-", "bytes=150000-"]
    assert server.num_bytes == len(BODY)
    assert left_in(cache) == ["model.pt"]


def test_truncated_download_stays_out_of_its_place_and_can_go_on(server, address, cache):
    broken_off(server, address, after=200_000)
    assert left_in(cache) == [f"{UNFINISHED}model.pt", f"{UNFINISHED}model.pt.json"]
    assert fetch(address).read_bytes() == BODY
    assert server.ranges == ["bytes=200000-"]
    assert server.requests[0][1]["If-Range"] == server.etag_of(PATH)
    assert server.num_bytes == 100_000
    assert left_in(cache) == ["model.pt"]


def test_server_without_parts_gives_the_whole_again(server, address):
    broken_off(server, address, after=200_000)
    server.with_ranges = False
    assert fetch(address).read_bytes() == BODY
    assert (server.ranges, server.num_bytes) == (["bytes=200000-"], len(BODY))


@pytest.mark.parametrize("length", [100_000, 300_000, 400_000])
def test_file_that_changed_meanwhile_is_fetched_from_the_start(server, address, length):
    broken_off(server, address, after=200_000)
    server.files[PATH] = (OTHER + BODY)[:length]
    assert fetch(address).read_bytes() == server.files[PATH]


def test_server_that_ignores_the_condition_is_found_out(server, address):
    """It gives the rest of another file, whose mark differs."""
    broken_off(server, address, after=200_000)
    note = cache_path(address).with_name(f"{UNFINISHED}model.pt.json")
    note.write_text(
        json.dumps({**json.loads(note.read_text()), "etag": None, "modified": "Mon, 01 Jan 2024 00:00:00 GMT"})
    )
    server.files[PATH], server.headers["Last-Modified"] = OTHER, "Tue, 02 Jan 2024 00:00:00 GMT"
    server.etags[PATH] = None
    assert fetch(address).read_bytes() == OTHER


def test_without_mark_or_hash_a_download_begins_anew(server, address):
    server.etags[PATH] = None
    broken_off(server, address, after=200_000)
    assert fetch(address).read_bytes() == BODY
    assert server.ranges == [None]


def test_with_a_hash_the_mark_is_not_needed(server, address):
    server.etags[PATH] = None
    server.cuts[:] = [200_000]
    assert fetch(address, HASH).read_bytes() == BODY
    assert server.ranges == [None, "bytes=200000-"]


def test_parts_that_do_not_fit_are_replaced_by_the_whole(server, address, cache):
    """The server calls another file by the same mark; only the hash tells."""
    server.etags[PATH] = '"always the same"'
    server.files[PATH] = OTHER
    broken_off(server, address, after=200_000)
    server.files[PATH] = BODY
    assert fetch(address, HASH).read_bytes() == BODY
    assert server.ranges == ["bytes=200000-", None]
    assert left_in(cache) == ["model.pt"]


def test_wrong_hash_leaves_nothing(server, address, cache):
    with pytest.raises(UserError, match=f"its SHA-256 is {HASH}, expected {'0' * 64}. Nothing of it was kept"):
        fetch(address, "0" * 64)
    assert left_in(cache) == []


def test_altered_file_in_the_cache_is_replaced(server, address, cache, caplog):
    cache_path(address).parent.mkdir(parents=True)
    cache_path(address).write_bytes(OTHER)
    assert fetch(address, HASH).read_bytes() == BODY
    assert "is not what was published" in caplog.text
    server.files[PATH] = OTHER
    cache_path(address).write_bytes(OTHER)
    with pytest.raises(UserError, match="is not what was published"):
        fetch(address, HASH)


def test_hash_that_the_hub_states_is_verified(server, address, cache):
    start = "/hub/model.pt"
    server.redirects[start], server.linked[start] = PATH, "0" * 64
    with pytest.raises(UserError, match="expected 0000"):
        fetch(server.address + start)
    assert left_in(cache) == []
    server.linked[start] = HASH
    assert fetch(server.address + start).read_bytes() == BODY


def test_note_of_which_a_kill_left_a_part_begins_anew(server, address):
    broken_off(server, address, after=200_000)
    cache_path(address).with_name(f"{UNFINISHED}model.pt.json").write_text('{"etag": "')
    assert fetch(address).read_bytes() == BODY
    assert server.ranges == [None]


def test_download_killed_before_it_got_its_name_needs_no_more_bytes(server, address):
    broken_off(server, address, after=200_000)
    with open(cache_path(address).with_name(f"{UNFINISHED}model.pt"), "ab") as file:
        file.write(BODY[200_000:])
    assert fetch(address).read_bytes() == BODY
    assert not server.requests


# --- Answers that are no file ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "needs a login"),
        (403, "needs a login"),
        (404, "check the address"),
        (500, "Try again later"),
        (418, "path"),
    ],
)
def test_error_of_the_server_says_address_status_and_what_to_do(server, address, cache, status, advice):
    server.statuses[PATH] = status
    with pytest.raises(FetchError, match=f"{address}.*{status}.*{advice}") as caught:
        fetch(address)
    assert caught.value.status == status
    assert left_in(cache) == []


def test_error_of_the_server_keeps_what_had_arrived(server, address):
    broken_off(server, address, after=200_000)
    server.statuses[PATH] = 503
    with pytest.raises(FetchError, match="What has arrived is kept"):
        fetch(address)
    server.statuses.clear()
    assert fetch(address).read_bytes() == BODY
    assert server.num_bytes == 100_000


def test_web_page_in_place_of_a_file_is_refused(server, address, cache):
    server.headers["Content-Type"] = "text/html; charset=utf-8"
    with pytest.raises(FetchError, match="answers 200 with text/html, not with a file"):
        fetch(address)
    assert left_in(cache) == []


def test_server_that_falls_silent_is_given_up(server, address, cache, monkeypatch):
    monkeypatch.setattr(web, "_TIMEOUT", 0.05)
    monkeypatch.setattr(downloads, "_ATTEMPTS", 1)
    server.gate = threading.Event()
    with pytest.raises(FetchError, match="broke off after .* MB .*timed out"):
        fetch(address)
    assert left_in(cache) == [f"{UNFINISHED}model.pt", f"{UNFINISHED}model.pt.json"]


def test_host_that_is_not_there_says_what_to_check(server, address, cache):
    server.__exit__()
    with pytest.raises(FetchError, match="cannot be reached .*[Rr]efused.*proxy.*PASSL_MIRROR"):
        fetch(address)
    assert left_in(cache) == []


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/model.pt", "http://example.com/model.pt"])
def test_redirect_away_from_https_is_refused(server, cache, target):
    server.redirects["/start.pt"] = target
    with pytest.raises(FetchError, match=f"leads to {target}, which is not followed"):
        fetch(server.address + "/start.pt")
    assert left_in(cache) == []


def test_redirect_on_the_same_host_is_followed_and_keeps_the_part(server, address):
    server.redirects["/start.pt"] = PATH
    server.cuts[:] = [100_000]
    assert fetch(server.address + "/start.pt", HASH).read_bytes() == BODY
    assert server.ranges == [None, None, "bytes=100000-", "bytes=100000-"]


def test_redirects_in_a_ring_are_given_up(server, cache):
    server.redirects["/start.pt"] = "/start.pt"
    with pytest.raises(FetchError, match="without an end"):
        fetch(server.address + "/start.pt")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("http://example.com/model.pt", "http can be altered on the way"),
        ("file:///etc/passwd", "not an address that can be fetched"),
        ("ViT-B-32.pt", "not an address that can be fetched"),
        ("https:///model.pt", "not an address that can be fetched"),
        ("https://host:port/model.pt", "no address"),
        ("https://[::1/model.pt", "no address"),
        ("https://example.com/", "names no file"),
        ("https://example.com", "names no file"),
        ("https://name:secret@example.com/model.pt", "user name or password"),
    ],
)
def test_address_that_is_not_accepted_says_why(cache, given, reason):
    with pytest.raises(UserError, match=reason) as caught:
        fetch(given)
    assert "https://host/path is accepted" in str(caught.value) or reason == "names no file"
    assert "secret" not in str(caught.value)


def test_redirect_from_http_to_another_port_of_this_machine_is_refused(server, cache):
    with type(server)() as other:
        other.files[PATH] = BODY
        server.redirects["/start.pt"] = other.address + PATH
        with pytest.raises(FetchError, match=f"leads to {other.address}{PATH}, which is not followed"):
            fetch(server.address + "/start.pt")
        assert not other.requests


@pytest.mark.parametrize(
    "target", ["http://127.0.0.1:port/a.pt", "http://[::1/a.pt", "https://name:secret@127.0.0.1/a.pt"]
)
def test_redirect_to_what_is_no_address_is_refused(server, cache, target):
    server.redirects["/start.pt"] = target
    with pytest.raises(FetchError, match="which is not followed") as caught:
        fetch(server.address + "/start.pt")
    assert "secret" not in str(caught.value)


def _spoil(kind, server, monkeypatch):
    """Lets a download fail in one of the ways that a message tells of."""
    if kind == "status":
        server.statuses[PATH + "?token=secret"] = 403
    elif kind == "page":
        server.headers["Content-Type"] = "text/html"
    elif kind == "gone":
        server.__exit__()
    elif kind == "length":
        server.with_length = False
    elif kind == "cut":
        server.cuts[:] = [1000] * downloads._ATTEMPTS
        server.etags[PATH + "?token=secret"] = None
    elif kind == "redirect":
        server.redirects[PATH + "?token=secret"] = "http://name:secret@example.com/a.pt?token=secret"
    elif kind == "ring":
        server.redirects[PATH + "?token=secret"] = PATH + "?token=secret"
    elif kind == "offline":
        monkeypatch.setenv("PASSL_OFFLINE", "1")


@pytest.mark.parametrize(
    "kind", ["status", "page", "gone", "length", "cut", "redirect", "ring", "offline", "hash", "none"]
)
def test_what_follows_the_question_mark_is_never_said(server, cache, kind, monkeypatch, caplog):
    caplog.set_level("INFO")
    server.files[PATH + "?token=secret"] = BODY
    _spoil(kind, server, monkeypatch)
    address = f"{server.address}{PATH}?token=secret"
    if kind == "none":
        fetch(address)
        assert f"downloading {server.address}{PATH}?..." in caplog.text
    else:
        with pytest.raises(UserError, match=re.escape(f"{server.address}{PATH}?...")) as caught:
            fetch(address, "0" * 64 if kind == "hash" else None)
        assert "secret" not in str(caught.value)
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    "address", ["http://example.com/a.pt?secret", "https://h:x/a.pt?secret", "https://h/?secret", "x.pt?secret#secret"]
)
def test_address_that_is_not_accepted_is_not_said_in_full(cache, address):
    with pytest.raises(UserError) as caught:
        fetch(address)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "mirror", ["https://name:secret@m.example/a", "huggingface.co=http://secret@m.example", "n:secret@m"]
)
def test_mirror_with_a_password_is_refused_without_saying_it(cache, monkeypatch, mirror):
    monkeypatch.setenv("PASSL_MIRROR", mirror)
    with pytest.raises(UserError, match="PASSL_MIRROR has .*m.*mirror") as caught:
        fetch("https://huggingface.co/a/b.pt")
    assert "secret" not in str(caught.value)


# --- The cache, offline mode, the mirror -----------------------------------------------------------------------------


def test_cache_is_where_the_user_says_or_where_caches_are(monkeypatch, tmp_path):
    monkeypatch.setenv("PASSL_CACHE", "~/weights")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "weights"
    monkeypatch.delenv("PASSL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg/passl"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / ".cache/passl"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://example.com/a/model.pt", "example.com/a/model.pt"),
        ("https://EXAMPLE.com/a/model.pt#top", "example.com/a/model.pt"),
        ("https://example.com:8443/model.pt", "example.com%3A8443/model.pt"),
        ("https://example.com/a b/$(touch x);.pt", "example.com/a%20b/%24%28touch%20x%29%3B.pt"),
        ("https://example.com/a%20b/%24%28touch%20x%29%3B.pt", "example.com/a%20b/%24%28touch%20x%29%3B.pt"),
        ("https://example.com/../../etc/passwd", "example.com/%2E./%2E./etc/passwd"),
        ("https://example.com/%2e%2e/%2E%2E%2Fpasswd", "example.com/%2E./%2E.%2Fpasswd"),
        (f"https://example.com/{UNFINISHED}model.pt", f"example.com/%2E{UNFINISHED[1:]}model.pt"),
        ("https://example.com//model.pt", "example.com/model.pt"),
    ],
)
def test_cached_file_lies_inside_the_cache_under_host_and_path(cache, given, kept):
    assert cache_path(given) == cache / kept


def test_addresses_with_other_queries_are_other_files(cache):
    first, second = (cache_path(f"https://example.com/model.pt?{query}") for query in ("token=secret", "token=other"))
    assert first != second
    assert first.name.endswith("-model.pt")
    assert "secret" not in str(first)


def test_name_too_long_for_a_file_system_keeps_its_ending(cache):
    name = cache_path(f"https://example.com/{'a' * 300}.safetensors").name
    assert len(name) < 200
    assert name.endswith("aa.safetensors")


def test_names_with_spaces_and_shell_characters_arrive(server, cache):
    server.files["/a%20b/$(touch%20x);&'.pt"] = BODY
    assert fetch(f"{server.address}/a b/$(touch x);&'.pt").read_bytes() == BODY
    assert left_in(cache) == ["%24%28touch%20x%29%3B%26%27.pt"]


def test_offline_mode_asks_nothing_of_the_net(server, address, cache, monkeypatch, no_sockets):
    path = fetch(address)
    monkeypatch.setenv("PASSL_OFFLINE", "1")
    no_sockets()
    assert fetch(address, HASH) == path
    with pytest.raises(
        FetchError, match="other.pt is not in the cache, and PASSL_OFFLINE is set. Put the file to .*other.pt"
    ):
        fetch(server.address + "/weights/other.pt")
    with pytest.raises(FetchError, match="is in the cache, but is not what was published"):
        fetch(address, "0" * 64)
    assert path.exists()


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("yes", True), ("0", False), ("", False), ("off", False)])
def test_offline_mode_is_what_the_variable_says(monkeypatch, value, expected):
    monkeypatch.setenv("PASSL_OFFLINE", value)
    assert downloads.is_offline() is expected


def test_mirror_takes_the_place_of_scheme_and_host(server, cache, monkeypatch):
    server.files["/copies/org/name/resolve/main/model.pt"] = BODY
    monkeypatch.setenv("PASSL_MIRROR", f"{server.address}/copies/")
    path = fetch("https://huggingface.co/org/name/resolve/main/model.pt", HASH)
    assert path == cache / "huggingface.co/org/name/resolve/main/model.pt"
    server.files["/copies/org/name/resolve/main/other.pt"] = OTHER
    with pytest.raises(UserError, match=f"{server.address}/copies/.*is not what was published.*the mirror"):
        fetch("https://huggingface.co/org/name/resolve/main/other.pt", HASH)


@pytest.mark.parametrize(
    ("mirror", "source"),
    [
        ("", "https://huggingface.co/a/b%20c.pt?d=e%20f"),
        ("https://m.example", "https://m.example/a/b%20c.pt?d=e%20f"),
        ("huggingface.co=https://m.example/x=y/", "https://m.example/x=y/a/b%20c.pt?d=e%20f"),
        ("https://m.example/x=y", "https://m.example/x=y/a/b%20c.pt?d=e%20f"),
        ("github.com=https://g.example", "https://huggingface.co/a/b%20c.pt?d=e%20f"),
        ("github.com=https://g.example, http://m.example", "http://m.example/a/b%20c.pt?d=e%20f"),
    ],
)
def test_mirror_of_one_host_leaves_the_others(monkeypatch, mirror, source):
    monkeypatch.setenv("PASSL_MIRROR", mirror)
    assert source_of("https://huggingface.co/a/b c.pt?d=e f") == source


def test_mirror_that_is_none_says_what_is_accepted(monkeypatch, cache):
    monkeypatch.setenv("PASSL_MIRROR", "m.example")
    with pytest.raises(UserError, match="PASSL_MIRROR has 'm.example'. Accepted: https://mirror"):
        fetch("https://huggingface.co/a/b.pt")


def test_cache_that_cannot_be_written_to_says_so(address, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("PASSL_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="cannot be written to .*set PASSL_CACHE"):
        fetch(address)


def test_folder_in_the_place_of_the_file_says_so(address, cache):
    cache_path(address).mkdir(parents=True)
    with pytest.raises(UserError, match="model.pt cannot be written .*directory"):
        fetch(address)
    assert left_in(cache) == []


# --- The disk, other processes, kills --------------------------------------------------------------------------------


def test_file_too_large_for_the_disk_is_not_begun(server, address, cache, monkeypatch):
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 250_000}))
    with pytest.raises(UserError, match="needs 0.3 MB, and only 0.2 MB are free.*PASSL_CACHE"):
        fetch(address)
    assert left_in(cache) == []


def test_disk_that_fills_up_leaves_nothing(address, cache):
    """A limit on the size of files stands in for a full disk: writing fails after so many bytes."""
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); {FETCH}"
    command = [sys.executable, "-c", limited, address]
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": root}, capture_output=True, text=True, check=False)
    assert "cannot be written (File too large); nothing of it was kept" in done.stderr
    assert left_in(cache) == []


def test_two_processes_download_once(server, address, cache):
    server.gate = threading.Event()
    first = start(address, HASH)
    assert server.is_halfway.wait(10)
    second = start(address, HASH)
    server.gate.set()
    results = [process.communicate(timeout=30) for process in (first, second)]
    assert [text.strip() for text, _ in results] == [str(cache_path(address))] * 2, results
    assert server.num_bytes == len(BODY)
    assert left_in(cache) == ["model.pt"]


def test_two_threads_download_once(server, address):
    paths = []
    threads = [threading.Thread(target=lambda: paths.append(fetch(address, HASH))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert paths == [cache_path(address)] * 4
    assert server.num_bytes == len(BODY)


def test_waiting_process_goes_on_when_the_first_is_killed(server, address, cache):
    server.gate = threading.Event()
    first = start(address, HASH)
    assert server.is_halfway.wait(10)
    second = start(address, HASH)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    server.gate.set()
    assert second.communicate(timeout=30)[0].strip() == str(cache_path(address))
    assert cache_path(address).read_bytes() == BODY
    assert left_in(cache) == ["model.pt"]


@pytest.mark.parametrize("moment", ["note.write_text", "append", "fsync", "os.replace", "note.unlink"])
def test_kill_at_any_moment_leaves_what_can_be_used(server, address, cache, moment):
    """The process ends, without any cleaning up, before or right after the calls that change the disk."""
    calls = {
        "note.write_text": "pathlib.Path, 'write_text'",
        "append": "downloads._Unfinished, 'append'",
        "fsync": "os, 'fsync'",
        "os.replace": "os, 'replace'",
        "note.unlink": "pathlib.Path, 'unlink'",
    }
    for is_before in (True, False):
        order = "os._exit(9)" if is_before else "(call(*a, **k), os._exit(9))"
        code = (
            "import os, pathlib, sys; from passl.zoo import downloads\n"
            f"owner, name = {calls[moment]}\ncall = getattr(owner, name)\n"
            f"setattr(owner, name, lambda *a, **k: {order})\ndownloads.fetch(*sys.argv[1:])"
        )
        root = str(Path(__file__).resolve().parents[2])
        environment = {**os.environ, "PYTHONPATH": root}
        killed = subprocess.run([sys.executable, "-c", code, address, HASH], env=environment, check=False)
        assert killed.returncode == 9
        target = cache_path(address)
        assert not target.exists() or target.read_bytes() == BODY
        assert fetch(address, HASH).read_bytes() == BODY
        target.unlink()
