"""One question to a web server: which addresses are accepted, where they are asked, and what its answer means.

`PASSL_MIRROR` takes the place of scheme and host of every address, or with `host=` before it of that host's addresses.
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import re
import urllib.error
import urllib.request
from typing import Any, Dict, Mapping, Optional, Tuple
from urllib.parse import SplitResult, quote, urljoin, urlsplit

import passl
from passl.utils.errors import UserError

GO_ON = "What has arrived is kept: the same call goes on from there."

_TIMEOUT = 30.0  # seconds without a single byte
_MAX_REDIRECTS = 10
_ACCEPTED = "https://host/path is accepted, and http:// on this machine"
_PATH_CHARACTERS = "/%:@!$&'()*+,;=~"


class FetchError(UserError):
    """An address gave no file. `status` is the server's answer, or None when there was none."""

    def __init__(self, message: str, status: Optional[int] = None) -> None:
        super().__init__(message)
        self.status = status


def shown(address: str) -> str:
    """An address for messages: without user name and password, and without what follows `?`, which may be secret."""
    place, mark, _ = address.partition("?")
    place = re.sub(r"(//|^)[^/]*@", r"\1", place.partition("#")[0])
    return place + ("?..." if mark else "")


def split_address(address: str) -> SplitResult:
    """The parts of an address.

    Raises:
        UserError: an address that is not accepted.
    """
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018 - raises when it is no number
    except ValueError:
        raise UserError(f"{shown(address)!r} is no address; {_ACCEPTED}") from None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise UserError(f"{shown(address)!r} is not an address that can be fetched; {_ACCEPTED}")
    if "@" in parts.netloc:
        raise UserError(f"an address with a user name or password is not accepted (host {parts.hostname}); {_ACCEPTED}")
    if parts.scheme == "http" and not _is_this_machine(parts.hostname):
        raise UserError(
            f"{shown(address)}: http can be altered on the way; {_ACCEPTED}, or set PASSL_MIRROR to a host you trust"
        )
    if not parts.path or parts.path.endswith("/"):
        raise UserError(f"{shown(address)} names no file: it ends with the host or with a slash")
    return parts


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def source_of(address: str) -> str:
    """Where the file of an address is asked for: there, or at the mirror that the user set.

    Raises:
        UserError: an address that is not accepted, or a mirror that is none.
    """
    parts = split_address(address)
    path = quote(parts.path, safe=_PATH_CHARACTERS)
    if parts.query:
        path += "?" + quote(parts.query, safe=_PATH_CHARACTERS + "?")
    for entry in os.environ.get("PASSL_MIRROR", "").replace(",", " ").split():
        host, sign, mirror = entry.partition("=")
        if not sign or "://" in host:
            host, mirror = "", entry
        if not mirror.startswith(("https://", "http://")):
            raise UserError(
                f"PASSL_MIRROR has {shown(entry)!r}. Accepted: https://mirror, http://mirror, or host=https://mirror for one "
                "host; several with commas between them"
            )
        if "@" in mirror.partition("//")[2].partition("/")[0]:
            raise UserError(
                f"PASSL_MIRROR has a user name or password for {shown(mirror)}, which is not sent; set a mirror without one"
            )
        if host in ("", parts.netloc.lower()):
            return mirror.rstrip("/") + path
    return f"{parts.scheme}://{parts.netloc}{path}"


def open_source(source: str, headers: Dict[str, str]) -> Tuple[Any, Optional[str]]:
    """Asks for a file.

    Args:
        source: an address that `source_of` gave.
        headers: of the question, over the usual ones.

    Returns:
        the server's answer (status 200 or 206), to be read and closed, and the file's SHA-256 where a model hub says it.

    Raises:
        FetchError: no answer, another answer, or a web page where a file should be.
    """
    redirects = _Redirects()
    opener = urllib.request.OpenerDirector()  # with these handlers and no others: no file:, no ftp:, no data:
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        redirects,
    ):
        opener.add_handler(handler)
    request = urllib.request.Request(source, headers={"User-Agent": f"passl/{passl.__version__}", **headers})
    try:
        response = opener.open(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        answer = f"{error.code} {error.reason}".rstrip()
        raise FetchError(f"{shown(source)}: the server answers {answer}. {_advice(error.code)}", error.code) from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise FetchError(
            f"{shown(source)} cannot be reached ({reason or type(error).__name__}). Check the network and the proxy settings, "
            "set PASSL_MIRROR, or give the path of a local file"
        ) from None
    if response.status not in (200, 206) or response.headers.get_content_type() == "text/html":
        response.close()
        raise FetchError(
            f"{shown(source)}: the server answers {response.status} with {response.headers.get_content_type()}, not with a file. "
            "Give the address that the download itself has",
            response.status,
        )
    return response, _linked_sha256(response.headers) or redirects.sha256


def _advice(status: int) -> str:
    """What a person can do about an error of the server."""
    if status in (401, 403):
        return "There is no such file, or it needs a login: download it with a browser and give the path of the file"
    if status in (404, 410):
        return "There is no such file: check the address, or give the path of a local file"
    if status == 429 or status >= 500:
        return f"Try again later, or set PASSL_MIRROR. {GO_ON}"
    return "Give another address, or the path of a local file"


class _Redirects(urllib.request.BaseHandler):
    """Follows redirects to https, and those that stay with the server that was asked by http: same host, same port.

    The hub answers for a large file with a redirect that carries the file's SHA-256; the storage behind it lacks that.
    """

    def __init__(self) -> None:
        self.sha256: Optional[str] = None
        self._left = _MAX_REDIRECTS

    def http_error_302(self, request: Any, response: Any, code: int, _message: str, headers: Any) -> Any:
        self.sha256 = _linked_sha256(headers) or self.sha256
        location = headers.get("Location")
        if location is None:
            return None  # an error like any other
        try:
            address = urljoin(request.full_url, quote(location, safe=_PATH_CHARACTERS + "?#[]"))
        except ValueError:  # brackets that do not belong together
            address = ""
        response.close()
        start = shown(request.full_url)
        before, after = _server_of(request.full_url), _server_of(address)
        if after is None or (after[0] != "https" and not (after == before and after[0] == "http")):
            raise FetchError(f"{start} leads to {shown(address)}, which is not followed: only https:// is", code)
        self._left -= 1
        if self._left < 0:
            raise FetchError(f"{start} leads from address to address without an end", code)
        return self.parent.open(urllib.request.Request(address, headers=request.headers), timeout=request.timeout)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _server_of(address: str) -> Optional[Tuple[str, Optional[str], Optional[int]]]:
    """Scheme, host and port of an address; None if it is none, or has a user name in it."""
    try:
        parts = urlsplit(address)
        if "@" in parts.netloc:
            return None
        return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None


def _linked_sha256(headers: Mapping[str, str]) -> Optional[str]:
    found = re.fullmatch(r'"?([0-9a-f]{64})"?', headers.get("X-Linked-Etag") or "")
    return found.group(1) if found else None
