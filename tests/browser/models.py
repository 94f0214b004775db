"""A model that asks, with the Model Context Protocol's own client."""

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, InitializeResult, Tool
from serving import OFFLINE, ROOT, Served


class Model:
    """What a model can do with a server of tools, one thing after another."""

    def __init__(self, portal: BlockingPortal, session: ClientSession, told: InitializeResult):
        self._portal, self._session = portal, session
        self.instructions = told.instructions or ""

    def tools(self) -> list[Tool]:
        return self._portal.call(self._session.list_tools).tools

    def calls(self, tool: str, **arguments: Any) -> CallToolResult:
        result: CallToolResult = self._portal.call(self._session.call_tool, tool, arguments)
        return result

    def gets(self, tool: str, **arguments: Any) -> dict[str, Any]:
        result = self.calls(tool, **arguments)
        assert not result.isError, text(result)
        assert result.structuredContent is not None
        return result.structuredContent


def text(result: CallToolResult) -> str:
    (block,) = result.content
    assert block.type == "text"
    return block.text


@contextmanager
def model(streams: AbstractAsyncContextManager[Any]) -> Iterator[Model]:
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(opened(streams)) as session,
    ):
        yield Model(portal, *session)


@asynccontextmanager
async def opened(
    streams: AbstractAsyncContextManager[Any],
) -> AsyncIterator[tuple[ClientSession, InitializeResult]]:
    async with streams as (read, write, *_), ClientSession(read, write) as session:
        yield session, await session.initialize()


def kept_home(folder: Path) -> dict[str, str]:
    """An environment in which every other host is refused, and noted in `folder`."""
    path = f"{ROOT}{os.pathsep}{OFFLINE}"
    return dict(os.environ) | {"PYTHONPATH": path, "LEFT": str(folder / "left")}


@contextmanager
def over_stdio(index: Path, folder: Path) -> Iterator[Model]:
    """A model that has started `rag mcp`."""
    words = ["-m", "rag", "mcp", "--index", str(index)]
    command = StdioServerParameters(command=sys.executable, args=words, env=kept_home(folder))
    with (folder / "stderr").open("w") as errors, model(stdio_client(command, errors)) as asking:
        yield asking
    assert "Traceback" not in (folder / "stderr").read_text()
    assert not (folder / "left").exists(), "rag mcp asked for another host"


def over_http(page: Served) -> AbstractAsyncContextManager[Any]:
    return streamable_http_client(f"{page.url}mcp")
