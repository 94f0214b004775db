"""ASGI middleware that keeps the server and its pages from loading anything from other hosts."""

import re
from typing import Any

_CONTENT_SECURITY_POLICY = (
    b"content-security-policy",
    b"default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:;"
    b" style-src 'self' 'unsafe-inline'; form-action 'self'",
)

_REMOTE_FILE = re.compile(r"/(?:file|proxy)=\s*https?:", re.IGNORECASE)


class ContentSecurityPolicy:
    """Tells browsers to load nothing from other hosts, whatever might get into the page.

    A header, since Gradio's web component copies what is in the page's head into the page around it.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), _CONTENT_SECURITY_POLICY]
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, send_with_policy)


class BlockRemoteFiles:
    """Refuses requests for files by URL, which Gradio would download and forward."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and _REMOTE_FILE.search(scope["path"]):
            await send({"type": "http.response.start", "status": 403, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await self._app(scope, receive, send)
