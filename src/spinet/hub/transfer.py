"""One file over HTTP: resumed after a cut, and complete or not there at all."""

import errno
import http.client
import json
import ssl
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from email.message import Message
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import msgspec

from spinet.errors import SpinetError, first_line
from spinet.files import parse_json, write_atomically
from spinet.hub.addresses import check_url
from spinet.hub.cache import check_room
from spinet.hub.progress import Report
from spinet.text import megabytes

CHUNK = 1 << 18
_TRY_AGAIN = (408, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Patience:
    """How long a transfer is tried.

    Args:
        attempts: connections in a row that bring next to nothing.
        wait: seconds before the second one, doubled each time.
        timeout: seconds without a byte after which a connection is given up.
    """

    attempts: int = 5
    wait: float = 1.0
    timeout: float = 30.0


@dataclass(frozen=True)
class _Origin:
    """Where a partial file comes from: the address, and what the server says of its version."""

    url: str
    etag: str = ""
    modified: str = ""
    total: int | None = None

    @classmethod
    def of(cls, url: str, headers: Message) -> "_Origin":
        """Return that of an answer with the whole file."""
        return cls(url, headers["ETag"] or "", headers["Last-Modified"] or "", _number(headers["Content-Length"]))

    @property
    def validator(self) -> str:
        """What `If-Range` takes: a strong ETag, else the time of the last change."""
        return self.etag if self.etag.startswith('"') else self.modified


class _Cut(Exception):  # noqa: N818
    """The connection ended early, or the server asks to try again."""


def fetch_url(
    url: str,
    partial: Path,
    record: Path,
    report: Report,
    *,
    size: int | None = None,
    patience: Patience = Patience(),
) -> None:
    """Transfer what is at `url` to `partial`, resuming what is there.

    Args:
        url: the address, https, or http to this machine.
        partial: the file; whatever happens it holds the beginning of what is there.
        record: file that says where `partial` comes from.
        report: is told the progress.
        size: bytes, if they are known.
        patience: how long it is tried.

    Raises:
        SpinetError: the server cannot be reached, does not have the file, or sends something else; or there is no room.
    """
    check_url(url)
    failures = 0
    while True:
        before = _size(partial)
        try:
            _attempt(url, partial, record, report, size, patience.timeout)
            return
        except _Cut as cut:
            failures = 1 if _size(partial) - before >= CHUNK else failures + 1
            if failures >= patience.attempts:
                raise SpinetError(
                    f"{url} could not be transferred: {cut}, {failures} times in a row; {megabytes(_size(partial))} "
                    "are kept, and the next try resumes from there"
                ) from None
            time.sleep(patience.wait * 2 ** (failures - 1))


def _attempt(url: str, partial: Path, record: Path, report: Report, size: int | None, timeout: float) -> None:
    start, origin = _begun(url, partial, record)
    if start and start == origin.total:
        return
    headers = {"User-Agent": "spinet", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if origin.validator:
            headers["If-Range"] = origin.validator
    try:
        with build_opener(_Redirects()).open(Request(_quoted(url), headers=headers), timeout=timeout) as response:
            if response.status == 206 and not _is_rest(response.headers, start, origin):
                _forget(partial, record)
                raise _Cut("the server sent another part of the file than the one asked for")
            if response.status != 206:  # the server ignores ranges, or the file has changed
                start, origin = 0, _Origin.of(url, response.headers)
            _check(response, url, size, origin.total)
            _check_room(partial, start, origin.total)
            if not start:
                partial.unlink(missing_ok=True)  # before the record of another version is written
                write_atomically(record, json.dumps(asdict(origin)))
            _receive(response, partial, start, origin.total, report)
    except HTTPError as error:
        _explain(error, url, partial, record, start)
    except (TimeoutError, http.client.HTTPException, ConnectionError) as error:
        raise _Cut(_reason(error)) from None
    except URLError as error:
        _unreachable(url, error)
    except OSError as error:
        raise _disk_error(partial, error) from None


def _quoted(url: str) -> str:
    """Return a URL with spaces and other letters in its path as a server expects them; what is quoted stays."""
    parts = urlsplit(url)
    safe = "/%:@!$&'()*+,;=~"
    host = parts.netloc.encode("idna").decode() if not parts.netloc.isascii() else parts.netloc
    return urlunsplit((parts.scheme, host, quote(parts.path, safe), quote(parts.query, f"{safe}?"), ""))


def _begun(url: str, partial: Path, record: Path) -> tuple[int, _Origin]:
    """Return how many bytes are there already, and of what."""
    with suppress(OSError, SpinetError, msgspec.ValidationError):
        origin = msgspec.convert(parse_json(record.read_bytes(), str(record)), _Origin)
        done = _size(partial)
        if origin.url == url and (origin.total is None or done <= origin.total):
            return done, origin
    return 0, _Origin(url)


def _is_rest(headers: Message, start: int, origin: _Origin) -> bool:
    """Whether an answer is the rest of the same file, from byte `start`."""
    first, _, total = (headers["Content-Range"] or "").removeprefix("bytes ").partition("/")
    etag = headers["ETag"] or origin.etag
    same = _number(total) in (None, origin.total) and etag == (origin.etag or etag)
    return same and _number(first.partition("-")[0]) == start


def _forget(partial: Path, record: Path) -> None:
    partial.unlink(missing_ok=True)
    record.unlink(missing_ok=True)


def _check(response: Any, url: str, size: int | None, total: int | None) -> None:
    if response.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        raise SpinetError(f"{url} is a web page and not a file; it may ask to sign in")
    if size is not None and total is not None and total != size:
        raise SpinetError(f"{url} has {total:,} bytes, but {size:,} were published; it is another file")


def _receive(response: Any, partial: Path, start: int, total: int | None, report: Report) -> None:
    with partial.open("r+b" if start else "wb") as file:
        file.seek(start)
        done = start
        report(done, total)
        while chunk := _next(response):
            file.write(chunk)
            done += len(chunk)
            report(done, total)
        file.flush()
    if total is not None and done < total:
        raise _Cut(f"the connection was cut after {done:,} of {total:,} bytes")
    if total is not None and done > total:
        partial.unlink()
        raise SpinetError(f"the server sent {done:,} bytes and had announced {total:,}; nothing is kept")


def _next(response: Any) -> bytes:
    """Return what has arrived; whatever ends the connection is a cut, and nothing of the disk."""
    try:
        return bytes(response.read1(CHUNK))
    except OSError as error:
        raise _Cut(_reason(error)) from None


class _Redirects(HTTPRedirectHandler):
    """Follows redirects to https only, or from http of this machine to the same."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        check_url(newurl)
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise SpinetError(f"{req.full_url} redirects to {newurl}, which is not encrypted; nothing was fetched")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _explain(error: HTTPError, url: str, partial: Path, record: Path, start: int) -> None:
    """Raise what an answer that is not a file means."""
    with error:
        if error.code == 416 and start:
            _forget(partial, record)
            raise _Cut("the file there is shorter now")
        if error.code in _TRY_AGAIN:
            raise _Cut(f"the server answers {error.code} {error.reason}")
    if error.code in (404, 410):
        raise SpinetError(f"there is no file at {url} (the server answers {error.code})") from None
    if error.code in (401, 403):
        raise SpinetError(f"the server refuses access to {url} (it answers {error.code})") from None
    reason = str(error.reason).strip().splitlines()[0] if str(error.reason).strip() else ""
    raise SpinetError(f"{url} could not be fetched: the server answers {error.code} {reason:.80}") from None


def _unreachable(url: str, error: URLError) -> None:
    cause = error.reason
    if isinstance(cause, TimeoutError | ConnectionResetError):
        raise _Cut(_reason(cause)) from None
    what = first_line(cause) if isinstance(cause, BaseException) else str(cause)
    if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) and cause.strerror:
        what = cause.strerror
    raise SpinetError(f"{urlsplit(url).hostname} could not be reached for {url}: {what:.100}") from None


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "the server sent nothing for too long"
    return "the connection was cut"


def _check_room(partial: Path, start: int, total: int | None) -> None:
    if total is not None:
        check_room(partial.parent, total - start, "transfer")


def _disk_error(partial: Path, error: OSError) -> SpinetError:
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return SpinetError(
            f"the disk of {partial.parent} is full; what has been transferred is kept, and the next try resumes from "
            "there"
        )
    return SpinetError(f"could not write {partial}: {error.strerror or error}")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _number(text: str | None) -> int | None:
    return int(text) if text and text.strip().isdigit() else None
