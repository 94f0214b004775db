"""Routes of OpenAI's API: a FastAPI application of its own at `/v1`, with OpenAI's error responses.

Only a verified answer is ever sent, never a draft.
"""

import re
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

from rag import __version__
from rag.errors import QuestionError
from rag.server.answer_task import AnswerStatus
from rag.server.errors import INTERNAL_ERROR, QueueFull, ServiceUnavailable
from rag.server.openai.client_tasks import reply_statuses, reply_to_task
from rag.server.openai.completions import build_completion, stream_events
from rag.server.openai.schemas import (
    EVENT_SCHEMA,
    MODEL_NAME,
    ChatCompletion,
    ChatCompletionRequest,
    Model,
    ModelList,
)
from rag.server.openai_errors import ErrorResponse, error_body
from rag.server.request_log import Channel
from rag.server.service import ChatService

if TYPE_CHECKING:
    from fastapi import FastAPI

MAX_REQUEST_BYTES = 1_000_000

RETRY_AFTER_S = {429: 60, 503: 5}
"""By status: a full queue, and models that are being loaded."""

CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a request whose client has disconnected, which nobody receives."""


def routes(service: ChatService) -> list[Any]:
    """Return the route of the application at `/v1`."""
    from starlette.routing import Mount

    return [Mount("/v1", app=_build_app(service))]


def _build_app(service: ChatService) -> "FastAPI":
    from fastapi import FastAPI

    app = FastAPI(
        title="Footnote",
        version=__version__,
        description="Answers from articles alone, each sentence checked against the one that it cites.",
        docs_url=None,
        redoc_url=None,
        exception_handlers=_exception_handlers(),
        responses={"4XX": {"model": ErrorResponse}, "5XX": {"model": ErrorResponse}},
    )
    app.add_middleware(_LimitRequestSize)
    app.add_middleware(_IncludePathPrefix)
    _add_model_routes(app)
    _add_completion_route(app, service)
    return app


def _add_model_routes(app: "FastAPI") -> None:
    from fastapi import Path

    only_model = Model(id=MODEL_NAME, object="model", created=int(time.time()), owned_by=MODEL_NAME)

    @app.get("/models")
    def models() -> ModelList:
        """List the models, of which there is one."""
        return ModelList(object="list", data=[only_model])

    @app.get("/models/{model}")
    def model(model: Annotated[str, Path(json_schema_extra={"enum": [MODEL_NAME]})]) -> Model:
        """Return the model of that name."""
        _check_model(model)
        return only_model


def _add_completion_route(app: "FastAPI", service: ChatService) -> None:
    from fastapi import Request, Response
    from fastapi.responses import StreamingResponse

    @app.post(
        "/chat/completions",
        response_model=ChatCompletion,
        response_model_exclude_unset=True,
        responses={200: {"content": {"text/event-stream": {"schema": EVENT_SCHEMA}}}},
    )
    async def complete(body: ChatCompletionRequest, request: Request) -> Any:
        """Answer the last question of a conversation from the articles alone.

        With `stream`, each event is a chat.completion.chunk, and the last one `[DONE]`.
        """
        _check_model(body.model)
        try:
            statuses = _statuses(body, service)
        except QuestionError as error:
            raise ApiError(400, str(error), "invalid_value", param="messages") from None
        try:
            status = await anext(statuses)
        except QueueFull as error:
            raise ApiError(429, str(error), "too_many_waiting") from None
        except ServiceUnavailable as error:
            raise ApiError(503, str(error), "not_ready") from None
        if body.stream:
            include_usage = bool(body.stream_options and body.stream_options.include_usage)
            return StreamingResponse(
                stream_events(statuses, include_usage=include_usage),
                media_type="text/event-stream",
                headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
            )
        async with aclosing(statuses):
            async for status in statuses:
                if not status.done and await request.is_disconnected():
                    return Response(status_code=CLIENT_CLOSED_REQUEST)
        try:
            return build_completion(status.final_answer())
        except ServiceUnavailable as error:
            raise ApiError(503, str(error), "not_answered") from None


def _statuses(body: ChatCompletionRequest, service: ChatService) -> AsyncGenerator[AnswerStatus]:
    """Return the statuses of the answer. Raises QuestionError if there is no valid question."""
    message = body.last_user_message()
    reply = reply_to_task(message)
    if reply is not None:
        return reply_statuses(message, reply)
    return service.answer(
        body.question(), history=body.history(), channel=Channel.V1, wait_for_models=False
    )


def _check_model(name: str) -> None:
    """Raise ApiError unless it is the model of this server."""
    if name != MODEL_NAME:
        message = f"There is no model {name[:100]!r} here, only {MODEL_NAME!r}."
        raise ApiError(404, message, "model_not_found", param="model")


# -- errors


class ApiError(Exception):
    """An error response.

    Args:
        status: The HTTP status.
        message: What is wrong, for a person.
        code: What is wrong, for a program.
        param: The field of the request that is wrong.
    """

    def __init__(
        self, status: int, message: str, code: str | None = None, *, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = error_body(status, message, code, param=param)

    @property
    def headers(self) -> dict[str, str]:
        retry_after_s = RETRY_AFTER_S.get(self.status)
        return {"Retry-After": str(retry_after_s)} if retry_after_s else {}


def _exception_handlers() -> dict[Any, Any]:
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from starlette.exceptions import HTTPException

    def api_error(request: Any, error: ApiError) -> Any:
        return JSONResponse(error.body, error.status, error.headers)

    def invalid_request(request: Any, error: RequestValidationError) -> Any:
        return JSONResponse(_validation_error_body(error.errors()[0]), 400)

    def http_error(request: Any, error: HTTPException) -> Any:
        body = error_body(error.status_code, f"{error.detail}.")
        return JSONResponse(body, error.status_code, error.headers)

    def internal_error(request: Any, error: Exception) -> Any:
        return JSONResponse(error_body(500, str(INTERNAL_ERROR)), 500)

    return {
        ApiError: api_error,
        RequestValidationError: invalid_request,
        HTTPException: http_error,
        Exception: internal_error,
    }


def _validation_error_body(error: dict[str, Any]) -> dict[str, Any]:
    """Return what pydantic has found: the field, what is wrong with it, and what is supported."""
    path = [str(part) for part in error["loc"][1:]]
    if error["type"] == "json_invalid":
        return error_body(400, f"The request is not valid JSON: {error['ctx']['error']}.")
    if not path:
        return error_body(400, "The request is not a JSON object sent as application/json.")
    param = re.sub(r"\.(\d+)", r"[\1]", ".".join(path))
    field = ChatCompletionRequest.model_fields.get(path[0])
    hint = f" {field.description}" if field and path[0] != "messages" else ""
    return error_body(400, f"{param}: {error['msg']}.{hint}", error["type"], param=param)


class _IncludePathPrefix:
    """ASGI middleware that puts the prefix that a proxy has removed in front of a request's path.

    By ASGI, `path` begins with `root_path`. Gradio sets the latter alone, and a mounted application then
    finds none of its routes.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if not scope["path"].startswith(scope["root_path"]):
            scope = {**scope, "path": scope["app_root_path"] + scope["path"]}
        await self._app(scope, receive, send)


class _LimitRequestSize:
    """ASGI middleware that refuses a request before it is read, if it is too large or of unknown size.

    The server itself holds a body to its Content-Length.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        from starlette.datastructures import Headers
        from starlette.responses import JSONResponse

        headers = Headers(scope=scope)
        app = self._app
        if "transfer-encoding" in headers:
            message = "The length of the request must be known. Send Content-Length."
            app = JSONResponse(error_body(411, message), 411)
        elif int(headers.get("content-length", "0")) > MAX_REQUEST_BYTES:
            message = f"The request exceeds {MAX_REQUEST_BYTES:,} bytes. Shorten the history."
            app = JSONResponse(error_body(413, message), 413)
        await app(scope, receive, send)
