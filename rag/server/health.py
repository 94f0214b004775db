"""Health probes: `/healthz` (the server runs) and `/readyz` (it can answer questions)."""

from typing import Any

from rag.server.service import ChatService, Failed, Loading


def routes(service: ChatService) -> list[Any]:
    """Return the routes of both probes, which answer with plain text.

    `/readyz` answers 200 once the index is open and the models are loaded. The language model may still
    be off, since questions are answered by quotations then; a second line says why it is off.
    """
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    def healthz(request: Any) -> Any:
        return PlainTextResponse("ok\n")

    def readyz(request: Any) -> Any:
        state = service.state
        if isinstance(state, Failed):
            return PlainTextResponse(f"{state.reason}\n", 503)
        if isinstance(state, Loading):
            return PlainTextResponse("loading\n", 503)
        generator_problem = state.chatbot.problem
        return PlainTextResponse(f"ok\n{generator_problem}\n" if generator_problem else "ok\n")

    return [Route("/healthz", healthz), Route("/readyz", readyz)]
