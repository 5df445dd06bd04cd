"""What the Hugging Face hub answers to its client, as far as downloads go, on this machine.

It stands in for the interface of huggingface.co that `huggingface_hub` calls: `/api/models/ID[/revision/REV]`,
`/api/models/ID/tree/REV`, and `/ID/resolve/REV/FILE`.
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

COMMIT = "c0ffee" + "0" * 34


@dataclass
class Hub:
    """`repositories`: id -> revision -> file -> content; `gated` and `codes` by id."""

    endpoint: str = ""
    repositories: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    codes: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def add(self, name: str, files: dict[str, bytes], revision: str = "main") -> None:
        self.repositories.setdefault(name, {})[revision] = files


def commit_of(revision: str) -> str:
    return COMMIT if revision == "main" else hashlib.sha1(revision.encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = unquote(self.path.partition("?")[0]).strip("/")
        self.hub.asked.append(f"{self.command} {path}")
        parts = path.split("/")
        api = parts[:2] == ["api", "models"]
        parts = parts[2:] if api else parts
        name, rest = "/".join(parts[:2]), parts[2:]
        if name in self.hub.codes:
            return self._error(self.hub.codes[name], "")
        if name in self.hub.gated:
            return self._error(403, "GatedRepo")
        if name not in self.hub.repositories:
            return self._error(404 if self.hub.repositories else 401, "RepoNotFound")
        revision = rest[1] if len(rest) > 1 else "main"
        revisions = self.hub.repositories[name]
        found = next((each for each in revisions if revision in (each, commit_of(each))), None)
        if found is None:
            return self._error(404, "RevisionNotFound")
        if api:
            return self._json(self._model(name, found, rest[0] if rest else ""), body)
        return self._file(revisions[found], found, "/".join(rest[2:]), body)

    def _model(self, name: str, revision: str, what: str) -> object:
        files = self.hub.repositories[name][revision]
        if what == "tree":
            return [
                {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for path, content in files.items()
            ]
        siblings = [{"rfilename": path} for path in files]
        return {"id": name, "modelId": name, "sha": commit_of(revision), "private": False, "siblings": siblings}

    def _file(self, files: dict[str, bytes], revision: str, file: str, body: bool) -> None:
        if file not in files:
            return self._error(404, "EntryNotFound")
        content = files[file]
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": commit_of(revision)}
        return self._send(200, content, {**headers, "Content-Type": "application/octet-stream"}, body)

    def _json(self, tree: object, body: bool) -> None:
        self._send(200, json.dumps(tree).encode(), {"Content-Type": "application/json"}, body)

    def _error(self, code: int, kind: str) -> None:
        self._send(code, b"", {"X-Error-Code": kind, "X-Error-Message": kind} if kind else {}, body=False)

    def _send(self, code: int, content: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(content)), "Connection": "close", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        if body:
            self.wfile.write(content)


@contextmanager
def hub_server() -> Iterator[Hub]:
    hub = Hub()
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub})) as server:
        server.daemon_threads = True
        hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
