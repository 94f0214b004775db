"""The HTTP server (chat page, Gradio's API, OpenAI's API, metrics) and the MCP server.

All protocols ask one ChatService and do not know each other. How answers come about belongs in
`rag.answering`.
"""

from rag.server.app import serve

__all__ = ["serve"]
