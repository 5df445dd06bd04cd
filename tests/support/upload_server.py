"""A stand-in of the Hugging Face Hub's HTTP interface on 127.0.0.1: repositories, commits, uploads and downloads."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

WRITE, READ = "hf_write", "hf_read"


@dataclass
class StoredRepository:
    """A repository: its files now, and what each commit changed."""

    private: bool = False
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[list[str]] = field(default_factory=list)

    @property
    def head(self) -> str:
        return f"{len(self.commits) + 1:040x}"


@dataclass
class Hub:
    """The state behind the server.

    Attributes:
        repositories: by owner and name.
        refuse: a status and a message with which every request to a path that contains a string is refused.
        corrupt: files whose last byte is sent wrong.
        seen: method and path of each request, with its token.
    """

    endpoint: str = ""
    repositories: dict[str, StoredRepository] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    refuse: dict[str, tuple[int, str]] = field(default_factory=dict)
    corrupt: set[str] = field(default_factory=set)
    seen: list[tuple[str, str, str]] = field(default_factory=list)


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def is_large(name: str) -> bool:
    return name.endswith((".safetensors", ".jpg", ".bin", ".pth"))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, content: object = None, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", headers.pop("length", str(len(body))))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def error(self, status: int, message: str, code: str = "") -> None:
        more = {"X_Error_Code": code} if code else {}
        self.answer(status, {"error": message}, X_Error_Message=message, **more)

    def handle_any(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        path = unquote(urlsplit(self.path).path)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        self.hub.seen.append((self.command, path, token))
        for part, (status, message) in self.hub.refuse.items():
            if part in path:
                return self.error(status, message)
        if token not in (WRITE, READ, "") and not path.startswith("/storage"):
            return self.error(401, "Invalid credentials in Authorization header")
        words = path.strip("/").split("/")
        match words:
            case ["api", "repos", "create"]:
                return self.create(json.loads(body), token)
            case ["api", "validate-yaml"]:
                return self.validate(json.loads(body))
            case ["storage", oid]:
                self.hub.uploads[oid] = body
                return self.answer(200, {})
            case ["api", "models", owner, name, *rest]:
                return self.model(f"{owner}/{name}", rest, body, token)
            case [owner, name, "info", "lfs", "objects", "batch"] if name.endswith(".git"):
                return self.batch(json.loads(body), token)
            case [owner, name, "resolve", revision, *file]:
                return self.resolve(f"{owner}/{name}", revision, "/".join(file), token)
        return self.error(404, "not found")

    do_GET = do_POST = do_PUT = do_HEAD = handle_any  # noqa: N815

    def found(self, name: str, token: str) -> StoredRepository | None:
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and not token):
            self.error(404 if token else 401, "Repository not found", "RepoNotFound")
            return None
        return repository

    def create(self, wanted: dict, token: str) -> None:
        name = f"{wanted['organization']}/{wanted['name']}"
        if token != WRITE:
            return self.error(403, "You don't have the rights to create a model under this namespace")
        if name in self.hub.repositories:
            return self.error(409, "You already created this model repo")
        private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
        self.hub.repositories[name] = StoredRepository(private)
        return self.answer(200, {"url": f"{self.hub.endpoint}/{name}", "name": name})

    def validate(self, wanted: dict) -> None:
        good = wanted["content"].startswith("---\n") and "\nlicense: " in wanted["content"]
        errors = [] if good else [{"message": "license is missing"}]
        return self.answer(200 if good else 400, {"errors": errors, "warnings": []})

    def model(self, name: str, rest: list[str], body: bytes, token: str) -> None:
        repository = self.found(name, token)
        if repository is None:
            return None
        match rest:
            case [] | ["revision", "main"]:
                return self.answer(200, self.info(name, repository))
            case ["revision", revision] if revision == repository.head:
                return self.answer(200, self.info(name, repository))
            case ["revision", _]:
                return self.error(404, "Invalid rev id", "RevisionNotFound")
            case ["preupload", "main"]:
                return self.answer(200, {"files": [self.preupload(f, repository) for f in json.loads(body)["files"]]})
            case ["commit", "main"]:
                return self.commit(name, repository, body, token)
        return self.error(404, "not found")

    def info(self, name: str, repository: StoredRepository) -> dict:
        siblings = [
            {
                "rfilename": file,
                "size": len(content),
                "blobId": git_oid(content),
                **({"lfs": {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 1}}
                   if is_large(file) else {}),
            }
            for file, content in repository.files.items()
        ]  # fmt: skip
        return {"id": name, "sha": repository.head, "private": repository.private, "siblings": siblings}

    def preupload(self, file: dict, repository: StoredRepository) -> dict:
        name, large = file["path"], is_large(file["path"])
        content = repository.files.get(name)
        oid = None if content is None else hashlib.sha256(content).hexdigest() if large else git_oid(content)
        return {"path": name, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid}

    def batch(self, wanted: dict, token: str) -> None:
        if token != WRITE:
            return self.error(403, "You need write access")
        objects = [
            each if each["oid"] in self.hub.uploads
            else {**each, "actions": {"upload": {"href": f"{self.hub.endpoint}/storage/{each['oid']}"}}}
            for each in wanted["objects"]
        ]  # fmt: skip
        return self.answer(200, {"transfer": "basic", "objects": objects})

    def commit(self, name: str, repository: StoredRepository, body: bytes, token: str) -> None:
        if token != WRITE:
            return self.error(403, "You need write access")
        changed = []
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                repository.files[value["path"]] = self.hub.uploads[value["oid"]]
            if line["key"] != "header":
                changed.append(value["path"])
        repository.commits.append(changed)
        address = f"{self.hub.endpoint}/{name}/commit/{repository.head}"
        return self.answer(200, {"commitUrl": address, "commitOid": repository.head})

    def resolve(self, name: str, revision: str, file: str, token: str) -> None:
        repository = self.found(name, token)
        if repository is None:
            return None
        if revision not in ("main", repository.head):
            return self.error(404, "Invalid rev id", "RevisionNotFound")
        if file not in repository.files:
            return self.error(404, "Entry not found", "EntryNotFound")
        content = repository.files[file]
        oid = hashlib.sha256(content).hexdigest() if is_large(file) else git_oid(content)
        if file in self.hub.corrupt:
            content = content[:-1] + bytes([content[-1] ^ 1])
        return self.answer(200, content, ETag=f'"{oid}"', X_Repo_Commit=repository.head, Accept_Ranges="bytes")


@contextmanager
def upload_server() -> Iterator[Hub]:
    """Run the server; what it yields is its state."""
    hub = Hub()
    handler = type("Bound", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
