"""The page launched: its address, its looks, and what of Gradio's is shut."""

import os
import re
import socket
from errno import EADDRINUSE
from importlib.resources import files
from threading import Event
from typing import Any

from rag import hub
from rag.errors import PageError
from rag.settings import Settings
from rag.web import api, journal, mcp, metrics, openai, zerogpu
from rag.web.access import Access, Gate, access_of, check_private
from rag.web.desk import Desk
from rag.web.page import page_of, page_texts
from rag.web.uploads import MOST_BYTES_A_FILE


def serve(settings: Settings) -> None:
    """Serve the page until Ctrl-C. Raises PageError when it cannot be served, and SettingError."""
    host = _host(settings)
    access, launched = access_of(settings), Event()
    check_private(host, access, settings.public or _on_space())
    _check_free(host, settings.port)
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    hub.stay_offline()
    zerogpu.prepare()
    desk = Desk(settings)
    desk.listeners += journal.listeners(settings.log)
    page = page_of(desk)
    with page:
        api.offer(desk)
        zerogpu.offer()
    _keep_at_home()
    try:
        page.launch(
            server_name=host,
            server_port=settings.port,
            prevent_thread_lock=True,
            quiet=True,
            app_kwargs=_beside(desk, host, _gates(access, launched)),
            **_shielded(settings),
            **_looks(),
        )
    except OSError as error:
        raise _in_use(settings.port) from error
    launched.set()
    line = f"Footnote is on http://{_shown_host(host)}:{settings.port} (Ctrl-C stops it)."
    try:
        print(line, flush=True)
        desk.load()
        Event().wait()
    except KeyboardInterrupt:
        page.close(verbose=False)


def _looks() -> dict[str, Any]:
    import gradio as gr

    here = files("rag.web")
    # The system's own typeface: nothing to wait for, and what its owner reads best.
    font = ["system-ui", "sans-serif"]
    return {
        "theme": gr.themes.Default(primary_hue="teal", neutral_hue="stone", font=font),
        "css": here.joinpath("page.css").read_text(encoding="utf-8"),
        "js": here.joinpath("page.js").read_text(encoding="utf-8"),
        "i18n": page_texts(),
        "footer_links": [],
    }


def _component() -> Any:
    """`/gradio.js`: Gradio's web component, for sites that show the page in a part of their own."""
    import gradio
    from starlette.responses import FileResponse
    from starlette.routing import Route

    file = files(gradio).joinpath("templates", "frontend", "gradio.js")
    return Route("/gradio.js", lambda request: FileResponse(str(file)))


def _gates(access: Access, launched: Event) -> list[Any]:
    return [(Gate, (access, launched), {})] if access.asked_for else []


def _beside(desk: Desk, host: str, gates: list[Any]) -> dict[str, Any]:
    """What the page's server serves besides the page, and what stands before all of it."""
    models = mcp.mounted(desk, host) if desk.settings.mcp else mcp.Mounted()
    return {
        "middleware": [(_OnlyFromHere, (), {}), *gates, (_AtHome, (), {})],
        "routes": [
            *api.routes(desk),
            *openai.routes(desk),
            *metrics.routes(desk),
            _component(),
            *models.routes,
        ],
        "lifespan": models.lifespan,
    }


def _shielded(settings: Settings) -> dict[str, Any]:
    """What Gradio would offer to anybody who can reach the page, and this page does not need."""
    return {
        "share": False,
        "show_error": False,
        "enable_monitoring": False,
        "run_history": False,
        "ssr_mode": False,
        "max_file_size": "1kb" if settings.uploads == "off" else MOST_BYTES_A_FILE,
    }


class _AtHome:
    """Gradio fetches any address that a client names as a file, and hands it on: not here (ASGI)."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and _ELSEWHERE.search(scope["path"]):
            head = {"type": "http.response.start", "status": 403, "headers": []}
            await send(head)
            await send({"type": "http.response.body", "body": b""})
            return
        await self._app(scope, receive, send)


class _OnlyFromHere:
    """Whatever might slip into the page, the browser is told to load nothing from elsewhere (ASGI).

    In a header: what stands in the page's head, Gradio's web component takes along into a page around it.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), _POLICY]}
            await send(message)

        await self._app(scope, receive, send_with_policy)


_POLICY = (
    b"content-security-policy",
    b"default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:;"
    b" style-src 'self' 'unsafe-inline'; form-action 'self'",
)

_ELSEWHERE = re.compile(r"/(?:file|proxy)=\s*https?:", re.IGNORECASE)


def _keep_at_home() -> None:
    """A file named by an address, as the value of a component, is not fetched either."""
    from gradio import processing_utils

    async def refused(url: str, cache_dir: str) -> str:
        raise PermissionError(f"{url} is not fetched")

    processing_utils.async_ssrf_protected_download = refused


# -- the address


def _host(settings: Settings) -> str:
    """The settings' address; on a Space, where only 0.0.0.0 is reached, that one by default."""
    usual = settings.host == Settings.model_fields["host"].default
    return "0.0.0.0" if usual and _on_space() else settings.host  # noqa: S104


def _on_space() -> bool:
    return os.environ.get("SYSTEM") == "spaces"


def _check_free(host: str, port: int) -> None:
    """Raises PageError when the page could not be served there; Gradio would not say why."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        if error.errno == EADDRINUSE:
            raise _in_use(port) from error
        raise PageError(
            f"The page cannot be served on {host}, port {port} ({error.strerror}).",
            remedy="Choose others with --host and --port, or RAG_HOST and RAG_PORT.",
        ) from error


def _in_use(port: int) -> PageError:
    return PageError(f"Port {port} is in use.", remedy="Choose another with --port or RAG_PORT.")


def _shown_host(host: str) -> str:
    """An address that can be opened, for one that is listened on."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
