"""Starts the server: the chat page with all APIs beside it."""

import os
import socket
from errno import EADDRINUSE
from importlib.resources import files
from threading import Event
from typing import Any

from rag import extras
from rag.errors import PageError
from rag.models import hub
from rag.server import gradio_api, health, mcp_server, metrics, request_log, zerogpu
from rag.server.auth import Access, AuthMiddleware, check_private, load_access
from rag.server.logs import configure_logging
from rag.server.openai import routes as openai_routes
from rag.server.security_headers import BlockRemoteFiles, ContentSecurityPolicy
from rag.server.service import ChatService
from rag.server.uploads import MAX_FILE_SIZE
from rag.settings import Settings


def serve(settings: Settings) -> None:
    """Serve the page and the APIs until Ctrl-C.

    Raises:
        MissingExtra: Packages that the server needs are not installed.
        PageError: The server cannot listen there, or may not without authentication.
        SettingError: The settings of the authentication are invalid.
    """
    extras.require("server", "The page")
    if settings.mcp:
        extras.require("mcp", "`rag chat --mcp`")
    configure_logging()
    host = _listen_host(settings)
    access, launched = load_access(settings), Event()
    check_private(host, access, settings.allow_anonymous or _on_space())
    _check_port_free(host, settings.port)
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    hub.stay_offline()
    zerogpu.prepare()
    from rag.server.ui.page import build_page  # imports gradio, which must come after the above

    service = ChatService(settings)
    service.listeners += request_log.listeners(settings.request_log)
    page = build_page(service)
    with page:
        gradio_api.register(service)
        zerogpu.add_hidden_button()
    _block_remote_downloads()
    try:
        page.launch(
            server_name=host,
            server_port=settings.port,
            root_path=settings.root_path or None,  # None: GRADIO_ROOT_PATH, which a Space may set
            prevent_thread_lock=True,
            quiet=True,
            app_kwargs=_app_arguments(service, host, _auth_middleware(access, launched)),
            **_restrictions(settings),
            **_appearance(),
        )
    except OSError as error:
        raise _port_in_use(settings.port) from error
    launched.set()
    url = f"http://{_url_host(host)}:{settings.port}"
    try:
        print(f"Footnote is on {url} (Ctrl-C stops it).", flush=True)
        service.load()
        Event().wait()
    except KeyboardInterrupt:
        page.close(verbose=False)


def _appearance() -> dict[str, Any]:
    import gradio as gr

    from rag.server.ui.page import page_texts

    static = files("rag.server.ui").joinpath("static")
    # The system's own font loads at once, and readers have chosen it.
    font = ["system-ui", "sans-serif"]
    return {
        "theme": gr.themes.Default(primary_hue="teal", neutral_hue="stone", font=font),
        "css": static.joinpath("page.css").read_text(encoding="utf-8"),
        "js": static.joinpath("page.js").read_text(encoding="utf-8"),
        "i18n": page_texts(),
        "footer_links": [],
    }


def _component_route() -> Any:
    """Return the route of Gradio's web component, with which other sites embed the page."""
    import gradio
    from starlette.responses import FileResponse
    from starlette.routing import Route

    file = files(gradio).joinpath("templates", "frontend", "gradio.js")
    return Route("/gradio.js", lambda request: FileResponse(str(file)))


def _auth_middleware(access: Access, launched: Event) -> list[Any]:
    return [(AuthMiddleware, (access, launched), {})] if access.required else []


def _app_arguments(service: ChatService, host: str, auth: list[Any]) -> dict[str, Any]:
    """Return the routes beside the page, and the middleware in front of all routes."""
    mcp = mcp_server.build_app(service, host) if service.settings.mcp else mcp_server.McpApp()
    return {
        "middleware": [(ContentSecurityPolicy, (), {}), *auth, (BlockRemoteFiles, (), {})],
        "routes": [
            *health.routes(service),
            *openai_routes.routes(service),
            *metrics.routes(service),
            _component_route(),
            *mcp.routes,
        ],
        "lifespan": mcp.lifespan,
    }


def _restrictions(settings: Settings) -> dict[str, Any]:
    """Turn off what Gradio offers to everybody who can reach the page, and the page does not need."""
    return {
        "share": False,
        "show_error": False,
        "enable_monitoring": False,
        "run_history": False,
        "ssr_mode": False,
        "max_file_size": "1kb" if settings.uploads == "off" else MAX_FILE_SIZE,
    }


def _block_remote_downloads() -> None:
    """Keep Gradio from downloading a URL that a client sends as the value of a component."""
    from gradio import processing_utils

    async def refuse(url: str, cache_dir: str) -> str:
        raise PermissionError(f"{url} is not fetched")

    processing_utils.async_ssrf_protected_download = refuse


# -- the address


def _listen_host(settings: Settings) -> str:
    """Return the address to listen on: on a Space all, unless the settings name one."""
    is_default = settings.host == Settings.model_fields["host"].default
    return "0.0.0.0" if is_default and _on_space() else settings.host  # noqa: S104


def _on_space() -> bool:
    return os.environ.get("SYSTEM") == "spaces"


def _check_port_free(host: str, port: int) -> None:
    """Raise PageError if the server cannot listen there; Gradio would not say why."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        if error.errno == EADDRINUSE:
            raise _port_in_use(port) from error
        raise PageError(
            f"The page cannot be served on {host}, port {port} ({error.strerror}).",
            remedy="Choose others with --host and --port, or RAG_HOST and RAG_PORT.",
        ) from error


def _port_in_use(port: int) -> PageError:
    return PageError(f"Port {port} is in use.", remedy="Choose another with --port or RAG_PORT.")


def _url_host(host: str) -> str:
    """Return the host of a URL that reaches what listens on `host`."""
    loopback = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104
    return loopback.get(host, f"[{host}]" if ":" in host else host)
