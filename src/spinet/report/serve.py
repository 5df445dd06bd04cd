"""The live page on this machine's own address; nothing else is served."""

from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from spinet.errors import SpinetError
from spinet.report.live import LivePage, sorry

HOST = "127.0.0.1"


class LiveServer(ThreadingHTTPServer):
    """Serves one page at `/`, to this machine only; `serve_forever` until it is interrupted.

    Args:
        page: of a run.
        port: of the address; 0 takes a free one.

    Raises:
        SpinetError: the port is taken, or not allowed.
    """

    daemon_threads = True

    def __init__(self, page: LivePage, port: int) -> None:
        self.page = page
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise SpinetError(f"cannot serve at {HOST}:{port}: {error.strerror}; another port may be free") from None

    @property
    def address(self) -> str:
        """The address of the page."""
        return f"http://{HOST}:{self.server_address[1]}/"


class _Handler(BaseHTTPRequestHandler):
    server: LiveServer
    timeout = 30

    def do_HEAD(self) -> None:
        self._answer(with_page=False)

    def do_GET(self) -> None:
        self._answer(with_page=True)

    def _answer(self, with_page: bool) -> None:
        # Only names of this machine: a page of another site may have its own name point here.
        if self.headers.get("Host", "").partition(":")[0] not in (HOST, "localhost"):
            return self._send(HTTPStatus.FORBIDDEN, "", "this address is not served")
        if self.path != "/":
            return self._send(HTTPStatus.NOT_FOUND, "", "only / is served")
        tag, status, content = self.server.page.tag(), HTTPStatus.OK, ""
        if with_page:
            try:
                tag, content = self.server.page.html()
            except (SpinetError, OSError) as error:  # a file that is being written, or a folder that is gone
                status, content = HTTPStatus.SERVICE_UNAVAILABLE, sorry(error, tag)
        return self._send(status, tag, content, "text/html")

    def _send(self, status: HTTPStatus, tag: str, content: str, kind: str = "text/plain") -> None:
        body = content.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        if tag:
            self.send_header("ETag", f'"{tag}"')
        if self.command == "GET":
            self.send_header("Content-Length", str(len(body)))
        with suppress(ConnectionError):  # a browser that has left meanwhile
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing for each request."""
