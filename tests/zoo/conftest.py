"""What the tests of downloads share: a server on this machine that breaks in the ways servers break, and a cache."""

import contextlib
import hashlib
import http.server
import re
import socket
import threading

import pytest


class FileServer:
    """What the server has and how it behaves; tests change the attributes while it runs.

    Attributes:
        files: bytes by path.
        etags: by path, in place of the one that belongs to the bytes; None for none.
        linked: SHA-256 by path, that a redirect to the file states as the model hub does.
        redirects: path -> address.
        statuses: path -> status of an error.
        headers: sent with every file.
        with_ranges: whether a part of a file can be asked for.
        with_length: whether the length of a file is said.
        cuts: bytes after which the next answers break off.
        gate: when set to an Event, files are given after their first half only once it is set.
        requests: (path, headers) of what was asked.
        num_bytes: how many bytes of files were given.
    """

    def __init__(self):
        self.files, self.etags, self.linked, self.redirects, self.statuses, self.headers = {}, {}, {}, {}, {}, {}
        self.with_ranges, self.with_length = True, True
        self.cuts, self.requests, self.num_bytes, self.gate = [], [], 0, None
        self.is_halfway = threading.Event()

    def __enter__(self):
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"state": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_):
        if self.gate is not None:
            self.gate.set()
        self._server.shutdown()
        self._server.server_close()

    def etag_of(self, path):
        return self.etags.get(path, f'"{hashlib.md5(self.files[path]).hexdigest()}"')

    @property
    def ranges(self):
        """The parts that were asked for, in order; None for a whole file."""
        return [headers.get("Range") for _, headers in self.requests]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: FileServer

    def do_GET(self):
        state, path = self.state, self.path
        state.requests.append((path, self.headers))
        if path in state.statuses:
            return self.send_answer(state.statuses[path])
        if path in state.redirects:
            linked = {"X-Linked-Etag": f'"{state.linked[path]}"'} if path in state.linked else {}
            return self.send_answer(302, Location=state.redirects[path], **linked)
        if path not in state.files:
            return self.send_answer(404)
        body, etag = state.files[path], state.etag_of(path)
        headers = {**state.headers, **({"ETag": etag} if etag else {})}
        part = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        is_same = self.headers.get("If-Range", etag) == etag
        if not (part and state.with_ranges and is_same):
            return self.send_file(200, body, headers)
        start = int(part.group(1))
        if start >= len(body):
            return self.send_answer(416)
        headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        return self.send_file(206, body[start:], headers)

    def send_answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def send_file(self, status, body, headers):
        self.send_response(status)
        if self.state.with_length:
            self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        body = body[: self.state.cuts.pop(0)] if self.state.cuts else body
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if self.state.gate is not None:
                half = len(body) // 2
                self.wfile.write(body[:half])
                self.state.is_halfway.set()
                self.state.gate.wait(10)
                body = body[half:]
                self.state.num_bytes += half
            self.wfile.write(body)
            self.state.num_bytes += len(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    """A running `FileServer`; no proxy stands between."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with FileServer() as running:
        yield running


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache that downloads go to; offline mode and mirror are off."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("PASSL_CACHE", str(folder))
    monkeypatch.delenv("PASSL_OFFLINE", raising=False)
    monkeypatch.delenv("PASSL_MIRROR", raising=False)
    return folder


@pytest.fixture
def no_sockets(monkeypatch):
    """From the call on, making a socket or looking up a host fails the test."""

    def forbidden(*_arguments, **_keywords):
        raise AssertionError("the net was asked")

    def forbid():
        for name in ("socket", "create_connection", "getaddrinfo"):
            monkeypatch.setattr(socket, name, forbidden)

    return forbid
