"""What stands around the page: a proxy with a path and X-Forwarded headers, and other people's sites."""

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from http_server import served

OWN_OF_A_HOP = {"connection", "keep-alive", "transfer-encoding", "host"}
"""Headers that say how two neighbours talk, and are not handed on."""


class _Passing(BaseHTTPRequestHandler):
    target: str
    prefix: str

    def do_GET(self) -> None:
        self._pass("GET")

    def do_POST(self) -> None:
        self._pass("POST")

    def do_OPTIONS(self) -> None:
        self._pass("OPTIONS")

    def _pass(self, method: str) -> None:
        if not self.path.startswith(self.prefix):
            self.send_error(404)
            return
        near = http.client.HTTPConnection(self.target, timeout=300)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in OWN_OF_A_HOP}
        headers |= {"Host": self.headers["host"], "X-Forwarded-Host": self.headers["host"]}
        headers |= {"X-Forwarded-Proto": "http", "X-Forwarded-Prefix": self.prefix}
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        near.request(method, self.path.removeprefix(self.prefix) or "/", body, headers)
        answer = near.getresponse()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in OWN_OF_A_HOP:
                self.send_header(name, value)
        self.end_headers()
        try:
            while piece := answer.read1():
                self.wfile.write(piece)
                self.wfile.flush()
        except OSError:  # the browser has gone
            pass
        near.close()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def proxied(url: str, prefix: str) -> Iterator[str]:
    """Another address of what `url` serves, at another port and below `prefix`."""
    passing = type("Passing", (_Passing,), {"target": urlsplit(url).netloc, "prefix": prefix})
    with served(passing) as elsewhere:
        yield f"{elsewhere}{prefix}/"


class _Site(BaseHTTPRequestHandler):
    html: bytes

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/" else 404)
        self.send_header("content-type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(self.html)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def site(body: str) -> Iterator[str]:
    """A site of somebody else's with this in it; a browser takes its host for another than the page's."""
    html = f"<!doctype html><html lang=en><title>A site</title><body>{body}</body></html>"
    with served(type("Site", (_Site,), {"html": html.encode()})) as url:
        yield url.replace("127.0.0.1", "localhost")
