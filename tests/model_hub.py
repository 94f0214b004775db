"""A hub of the tests' own, on loopback: it speaks as much of the protocol as pulling a model takes.

It can be slow, break off in the middle, announce another content, want a token or fail.
"""

import hashlib
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import unquote, urlsplit

from http_server import served

COMMIT = "c0ffee" * 6 + "c0ff"
LARGE = 1_000_000
"""From so many bytes on, files are large ones (LFS), named by another hash."""


@dataclass
class ModelHub:
    """`repositories` maps owner/repo to its files. The rest says how it misbehaves."""

    repositories: dict[str, dict[str, Path]]
    url: str = ""
    cut_after: list[int] = field(default_factory=list)
    """The next answers with large files end after so many bytes."""
    pause: float = 0.0
    """Seconds after each 64 KiB."""
    false_hash: bool = False
    status: int = 0
    token: str = ""
    gated: bool = False
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """Method, path and headers of every request."""

    def ranges(self) -> list[str]:
        """What was asked for of files whose beginning was there."""
        return [head["range"] for _, _, head in self.seen if "range" in head]


@contextmanager
def serving(repositories: dict[str, dict[str, Path]]) -> Iterator[ModelHub]:
    hub = ModelHub(repositories)

    class Handler(_Handler):
        model_hub = hub

    with served(Handler) as hub.url:
        yield hub


def is_large(file: Path) -> bool:
    return file.stat().st_size >= LARGE


def hash_of(file: Path) -> str:
    content = file.read_bytes()
    if is_large(file):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0%b" % (len(content), content)).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    model_hub: ModelHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        hub, path = self.model_hub, unquote(urlsplit(self.path).path)
        head = {name.lower(): value for name, value in self.headers.items()}
        hub.seen.append((self.command, path, head))
        if hub.status:
            return self._say(hub.status, b"")
        if hub.gated:
            return self._say(403, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "gated"})
        if hub.token and head.get("authorization") != f"Bearer {hub.token}":
            return self._not_found()
        about = re.fullmatch(r"/api/models/([^/]+/[^/]+?)(/(revision|tree)/[^/]+)?", path)
        if about and about[1] in hub.repositories:
            files = hub.repositories[about[1]]
            told = self._tree(files) if about[3] == "tree" else self._info(about[1], files)
            return self._say(200, json.dumps(told).encode(), {"Content-Type": "application/json"})
        found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path)
        if found and found[2] in hub.repositories.get(found[1], {}):
            return self._file(hub.repositories[found[1]][found[2]], head.get("range"), body)
        return self._not_found()

    def _not_found(self) -> None:
        self._say(404, b"", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "not found"})

    def _hash(self, file: Path) -> str:
        true = hash_of(file)
        return true[::-1] if self.model_hub.false_hash and is_large(file) else true

    def _info(self, repo: str, files: dict[str, Path]) -> dict[str, object]:
        siblings: list[dict[str, object]] = []
        for name, file in files.items():
            size = file.stat().st_size
            lfs = {"sha256": self._hash(file), "size": size, "pointerSize": 130}
            of_large = {"lfs": lfs} if is_large(file) else {}
            siblings.append(
                {"rfilename": name, "size": size, "blobId": self._hash(file), **of_large}
            )
        return {"id": repo, "sha": COMMIT, "siblings": siblings, "tags": [], "private": False}

    def _tree(self, files: dict[str, Path]) -> list[dict[str, object]]:
        told: list[dict[str, object]] = []
        for name, file in files.items():
            size, name_of_content = file.stat().st_size, self._hash(file)
            lfs = {"oid": name_of_content, "size": size, "pointerSize": 130}
            of_large = {"lfs": lfs} if is_large(file) else {}
            told.append(
                {"type": "file", "path": name, "size": size, "oid": name_of_content} | of_large
            )
        return told

    def _file(self, file: Path, wanted: str | None, body: bool) -> None:
        content = file.read_bytes()
        head = {"ETag": f'"{self._hash(file)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if is_large(file):
            head |= {"X-Linked-Size": str(len(content)), "X-Linked-Etag": head["ETag"]}
        begin = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted else 0
        status = 206 if wanted else 200
        if wanted:
            head["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        cut = self.model_hub.cut_after
        end = begin + cut.pop(0) if body and is_large(file) and cut else None
        self._say(status, content[begin:], head, body, None if end is None else end - begin)

    def _say(
        self,
        status: int,
        content: bytes,
        head: dict[str, str] | None = None,
        body: bool = True,
        most: int | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in (head or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if not body:
            return
        sent = content if most is None else content[:most]
        try:
            for place in range(0, len(sent), 65_536):
                self.wfile.write(sent[place : place + 65_536])
                time.sleep(self.model_hub.pause)
        except OSError:  # whoever asked has gone
            self.close_connection = True
        if most is not None:
            self.close_connection = True
