"""A server that speaks OpenAI's API badly, in the way that its requests' path begins with."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from http_server import served

MODELS: dict[str, Any] = {
    "object": "list",
    "data": [{"id": "unruly", "object": "model", "created": 0, "owned_by": "x"}],
}


def piece(text: str | None, finish: str | None = None, **delta: Any) -> str:
    choice = {"index": 0, "delta": {"content": text} | delta, "finish_reason": finish}
    chunk = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "unruly"}
    return f"data: {json.dumps(chunk | {'choices': [choice]})}\n\n"


class Unruly(BaseHTTPRequestHandler):
    requests: list[tuple[str, dict[str, str], Any]]

    def do_GET(self) -> None:
        self._note(None)
        if "/no-models/" in self.path:
            self._answer(200, json.dumps({"object": "list", "data": []}))
        elif "/html/" in self.path:
            self._answer(200, "<html>Welcome!</html>", "text/html")
        elif "/tells-" in self.path:
            told = int(self.path.split("/")[1].removeprefix("tells-"))
            data = [MODELS["data"][0] | {"max_model_len": told}]
            self._answer(200, json.dumps(MODELS | {"data": data}))
        else:
            self._answer(200, json.dumps(MODELS))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self._note(body)
        manner = self.path.split("/")[1]
        if manner.isdigit():
            self._answer(int(manner), json.dumps({"error": {"message": "no"}}))
        elif manner == "once-500" and len(self.requests) == 1:
            self._answer(500, "{}")
        elif manner == "not-json":
            self._answer(200, "data: {not json\n\n", "text/event-stream")
        elif manner == "no-choices":
            self._answer(200, 'data: {"choices": 3}\n\n', "text/event-stream")
        elif manner == "silent":
            time.sleep(3)
        else:
            self._stream(manner)

    def _stream(self, manner: str) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        if manner == "thinks":
            self._chunk(piece(None, reasoning_content="It is a lighthouse."))
        for word in ("Thirty-seven", " metres", "."):
            self._chunk(piece(word))
            time.sleep(0.5 if manner == "slow" else 0)
        if manner == "stalls":
            time.sleep(3)
        if manner == "hangs-up":
            self.connection.close()
            return
        if manner != "unended":
            self._chunk(piece(None, "stop") + "data: [DONE]\n\n")
        self._chunk("")

    def _chunk(self, text: str) -> None:
        self.wfile.write(f"{len(text.encode()):x}\r\n{text}\r\n".encode())
        self.wfile.flush()

    def _answer(self, status: int, body: str, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def _note(self, body: Any) -> None:
        self.requests.append((self.path, dict(self.headers), body))

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def unruly() -> Iterator[tuple[str, list[tuple[str, dict[str, str], Any]]]]:
    """The address, to which a manner and /v1 are added, and what was asked for."""
    seen: list[tuple[str, dict[str, str], Any]] = []
    with served(type("Handler", (Unruly,), {"requests": seen})) as url:
        yield url, seen
