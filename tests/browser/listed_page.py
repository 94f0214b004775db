"""The real page, which also notes what it serves in the file ROUTES: a method and a path each line."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount

from rag import server, settings

LAUNCH = gr.Blocks.launch


def served(routes: list[Any], before: str = "") -> Iterator[str]:
    """Every route, those of included routers and mounted applications too."""
    for route in iter_route_contexts(routes):
        if isinstance(route.original_route, Mount):
            yield from served(route.original_route.routes, before + str(route.path))
        for method in route.methods or ():
            yield f"{method} {before}{route.path}"


def launch(page: Any, **kept: Any) -> Any:
    launched = LAUNCH(page, **kept)
    Path(os.environ["ROUTES"]).write_text("\n".join(served(page.app.routes)))
    return launched


if __name__ == "__main__":
    gr.Blocks.launch = launch
    server.serve(settings.load())
