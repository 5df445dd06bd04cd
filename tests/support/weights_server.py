"""A web server on this machine that behaves as badly as a test asks for."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Behaviour:
    """What the server does.

    `files` by path; `cuts`: bytes after which the next connections end, one each; `redirects` by path; `codes`: answers
    with an error, one each; `length` is announced instead of the true one; `pause`: seconds between two `chunk`s.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    redirects: dict[str, str] = field(default_factory=dict)
    codes: list[int] = field(default_factory=list)
    length: int | None = None
    ranges: bool = True
    etag: str = '"one"'
    kind: str = "application/octet-stream"
    chunk: int = 1 << 16
    pause: float = 0.0
    asked: list[dict[str, str]] = field(default_factory=list)


class WeightsServer:
    def __init__(self, behaviour: Behaviour, server: ThreadingHTTPServer):
        self.behaviour, self._server = behaviour, server

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/{path}"

    @property
    def ranges_asked(self) -> list[str | None]:
        return [request.get("Range") for request in self.behaviour.asked]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    behaviour: Behaviour

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        wanted = self.behaviour
        path = self.path.partition("?")[0].strip("/")
        wanted.asked.append({"path": path, **dict(self.headers)})
        self.close_connection = True
        if path in wanted.redirects:
            self._head(302, Location=wanted.redirects[path])
        elif wanted.codes:
            self._head(wanted.codes.pop(0))
        elif path not in wanted.files:
            self._head(404)
        else:
            self._send(wanted.files[path])

    def _head(self, code: int, **headers: object) -> None:
        self.send_response(code)
        for name, value in {"Content_Length": 0, "Connection": "close", **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def _send(self, content: bytes) -> None:
        wanted, start = self.behaviour, 0
        asked = self.headers["Range"]
        if asked and wanted.ranges and self.headers["If-Range"] in (None, wanted.etag):
            start = int(asked.removeprefix("bytes=").partition("-")[0])
            if start >= len(content):
                return self._head(416)
        body = content[start:]
        headers = {"ETag": wanted.etag} if wanted.etag else {}
        headers |= {"Content_Type": wanted.kind}
        headers["Content_Length"] = len(body) if wanted.length is None else wanted.length
        if start:
            headers["Content_Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._head(206 if start else 200, **headers)
        if wanted.cuts:
            body = body[: wanted.cuts.pop(0)]
        for place in range(0, len(body), wanted.chunk):
            self.wfile.write(body[place : place + wanted.chunk])
            self.wfile.flush()
            time.sleep(wanted.pause)
        return None


@contextmanager
def weights_server() -> Iterator[WeightsServer]:
    behaviour = Behaviour()
    handler = type("Handler", (_Handler,), {"behaviour": behaviour})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # clients go away in the middle
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield WeightsServer(behaviour, server)
        finally:
            server.shutdown()
            thread.join()
