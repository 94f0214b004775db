"""A model hub on this machine: as much of the hub's protocol as huggingface_hub speaks to it here.

Each request is answered by the method that ROUTES names for it. Let huggingface_hub find it by
HF_ENDPOINT, and store large files by the LFS protocol (HF_HUB_DISABLE_XET=1): of the other one, Xet,
nothing is here.
"""

import base64
import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Literal
from urllib.parse import urlsplit

from http_server import served

OWNER = "hf_owner"
READER = "hf_reader"
"""Tokens: one may write, the other may only read. Every other is unknown."""

SPACE = r"/api/spaces/(?P<name>[^/]+/[^/]+)"
ROUTES = [
    ("POST", "/api/repos/create", "create"),
    ("POST", "/api/validate-yaml", "validate"),
    ("PUT", f"{SPACE}/settings", "settings"),
    ("POST", f"{SPACE}/variables", "variable"),
    ("POST", f"{SPACE}/secrets", "secret"),
    ("GET", f"{SPACE}(/revision/main)?", "about"),
    ("GET", f"{SPACE}/tree/main", "tree"),
    ("POST", f"{SPACE}/preupload/main", "preupload"),
    ("POST", f"{SPACE}/commit/main", "commit"),
    ("POST", r"/spaces/(?P<name>[^/]+/[^/]+)\.git/info/lfs/objects/batch", "batch"),
    ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", "store"),
]

Trouble = int | Literal["cut off", "silent"]
"""What is wrong with an answer: its status; or it breaks off; or it does not come for two seconds."""


@dataclass
class Repository:
    sdk: str
    private: bool
    hardware: str = "cpu-basic"
    files: dict[str, bytes] = field(default_factory=dict)
    large: set[str] = field(default_factory=set)
    variables: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    commits: int = 0


@dataclass
class ErrorResponse(Exception):
    status: int
    message: str
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Hub:
    """What it holds, what was asked of it, and how it is to misbehave."""

    url: str = ""
    spaces: dict[str, Repository] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    trouble: dict[str, Trouble] = field(default_factory=dict)
    """What of a path, and what is wrong with the answers to it."""
    wants_pay: bool = False
    """Whether the owner's account is a free one: it may have static Spaces, and ZeroGPU ones."""

    # -- what ROUTES names: each gives the JSON of its answer

    def create(self, body: Any) -> Any:
        name = f"{body['organization']}/{body['name']}"
        found = {"url": f"{self.url}/spaces/{name}"}
        if name in self.spaces:
            raise ErrorResponse(409, "You already created this space repo", found)
        hardware = body.get("hardware", "cpu-basic")
        if self.wants_pay and hardware != "zero-a10g":
            raise ErrorResponse(
                402, "Hosting Gradio Spaces on cpu-basic requires a PRO subscription."
            )
        private = body.get("visibility") == "private"
        made = Repository(body["sdk"], private, hardware)
        made.files = {".gitattributes": b"*.gguf filter=lfs\n", "README.md": b"---\nsdk: gradio\n"}
        self.spaces[name] = made
        return found

    def validate(self, body: Any) -> Any:
        assert body["content"].startswith("---\n")
        return {"errors": [], "warnings": []}

    def settings(self, body: Any, name: str) -> Any:
        self._space(name).private = body["visibility"] == "private"
        return {}

    def variable(self, body: Any, name: str) -> Any:
        self.spaces[name].variables[body["key"]] = body["value"]
        return {key: {"value": value} for key, value in self.spaces[name].variables.items()}

    def secret(self, body: Any, name: str) -> Any:
        self.spaces[name].secrets[body["key"]] = body["value"]
        return {}

    def about(self, body: Any, name: str) -> Any:
        found = self._space(name)
        return {"_id": "1", "id": name, "sha": f"{found.commits:040x}", "siblings": []}

    def tree(self, body: Any, name: str) -> Any:
        return [
            {"type": "file", "path": path, "size": len(content), "oid": _git_hash(content)}
            for path, content in self._space(name).files.items()
        ]

    def preupload(self, body: Any, name: str) -> Any:
        found = self._space(name)
        return {"files": [self._mode(found, file) for file in body["files"]]}

    def batch(self, body: Any, name: str) -> Any:
        self._space(name)
        return {"transfer": "basic", "objects": [self._place(one) for one in body["objects"]]}

    def store(self, body: bytes, oid: str) -> Any:
        assert hashlib.sha256(body).hexdigest() == oid
        self.stored[oid] = body
        return {}

    def commit(self, body: bytes, name: str) -> Any:
        found = self._space(name)
        header, *operations = [json.loads(line) for line in body.splitlines()]
        assert header["value"]["summary"]
        for operation in operations:
            value = operation["value"]
            if operation["key"] == "file":
                found.files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                found.files[value["path"]] = self.stored[value["oid"]]
                found.large.add(value["path"])
            else:
                assert operation["key"] == "deletedFile"
                del found.files[value["path"]]
        found.commits += 1
        oid = f"{found.commits:040x}"
        return {"commitUrl": f"{self.url}/spaces/{name}/commit/{oid}", "commitOid": oid}

    # --

    def _space(self, name: str) -> Repository:
        if name not in self.spaces:
            raise ErrorResponse(404, "Repository not found")
        return self.spaces[name]

    def _mode(self, space: Repository, file: Any) -> Any:
        large = b"\0" in base64.b64decode(file["sample"])
        about = {"path": file["path"], "shouldIgnore": False}
        about["uploadMode"] = "lfs" if large else "regular"
        held = space.files.get(file["path"])
        if held is not None:
            about["oid"] = hashlib.sha256(held).hexdigest() if large else _git_hash(held)
        return about

    def _place(self, one: Any) -> Any:
        place = {"oid": one["oid"], "size": one["size"]}
        if one["oid"] in self.stored:
            return place
        return place | {"actions": {"upload": {"href": f"{self.url}/lfs/{one['oid']}"}}}


def _git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Answering(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def _answer(self, method: str) -> None:
        path = urlsplit(self.path).path
        self.hub.asked.append(f"{method} {path}")
        body = self._body()
        trouble = next((how for part, how in self.hub.trouble.items() if part in path), None)
        try:
            if trouble == "silent":
                time.sleep(2)
            if isinstance(trouble, int):
                raise ErrorResponse(trouble, "")
            self._check_token(method, path)
            self._send(200, self._route(method, path, body), cut_off=trouble == "cut off")
        except ErrorResponse as refused:
            error = {"error": refused.message} if refused.message else {}
            self._send(refused.status, {**error, **refused.body})

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _check_token(self, method: str, path: str) -> None:
        if path.startswith("/lfs/") or path == "/api/validate-yaml":
            return  # for everybody; the address of a file to store is itself the permission
        token = self.headers.get("authorization", "").removeprefix("Bearer ")
        self.hub.tokens.add(token)
        if token not in (OWNER, READER):
            raise ErrorResponse(401, "Invalid credentials in Authorization header")
        if token == READER and method != "GET":
            raise ErrorResponse(403, "You don't have the rights to do this under this namespace")

    def _route(self, method: str, path: str, body: bytes) -> Any:
        for wanted, pattern, name in ROUTES:
            found = re.fullmatch(pattern, path)
            if found and wanted == method:
                plain = name in ("store", "commit")
                told = body if plain or not body else json.loads(body)
                return getattr(self.hub, name)(told, **found.groupdict())
        raise ErrorResponse(404, f"{method} {path} is not spoken here")

    def _send(self, status: int, answer: Any, cut_off: bool = False) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content) + (1000 if cut_off else 0)))
        if "error" in answer:
            self.send_header("x-error-message", answer["error"])
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = cut_off

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def loopback_hub() -> Iterator[Hub]:
    hub = Hub()
    with served(type("Handler", (_Answering,), {"hub": hub})) as hub.url:
        yield hub
