"""The same answers for programs that speak OpenAI's API: `/v1`, a FastAPI application of its own.

What a request may hold and what comes back are pydantic's models here, from which FastAPI makes the
description at `/v1/openapi.json`. Only a checked answer is ever sent; its citations are annotations.
"""

import asyncio
import re
import secrets
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from rag import __version__
from rag.chatbot import Chatbot
from rag.datatypes import EVERYTHING, Answer, Message, Timings, Verdict
from rag.errors import QuestionError
from rag.language import sentences
from rag.questions import sound
from rag.web.desk import Busy, Desk, Progress
from rag.web.journal import Face
from rag.web.texts import Texts

MODEL = "footnote"

MOST_BYTES = 1_000_000
"""Of a request."""

LOADING_S = 5
BUSY_S = 60
"""After how long it is worth asking again."""

EN = Texts("en")


# -- what may be asked


class TextPart(BaseModel):
    type: Literal["text"]
    text: str


def _text(content: object) -> object:
    """The text of a message's parts, whole characters only."""
    text = "" if content is None else content
    parts = content if isinstance(content, list) else [{"type": "text", "text": text}]
    return "\n".join(_part_text(part) for part in parts)


def _part_text(part: object) -> str:
    kind = part.get("type") if isinstance(part, dict) else part
    text = part.get("text") if isinstance(part, dict) else None
    if kind != "text":
        told = {"kind": repr(kind)[:100]}
        raise PydanticCustomError("unsupported_value", "Only text is read, not {kind}", told)
    try:
        str.encode(text)  # type: ignore[arg-type]
    except (TypeError, UnicodeEncodeError):
        raise PydanticCustomError(
            "invalid_type", "Input should be text in whole characters"
        ) from None
    return str(text)


class Turn(BaseModel):
    """One message. A system's or developer's is not obeyed: the articles alone are answered from."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[
        str, BeforeValidator(_text, json_schema_input_type=str | list[TextPart] | None)
    ] = ""


class StreamOptions(BaseModel):
    include_usage: bool | None = None


class TextFormat(BaseModel):
    type: Literal["text"]


class Asked(BaseModel):
    """A question, and what was said before it. Whatever else a request holds is ignored.

    A field's description is what a client is told when it holds anything else.
    """

    model: str = Field(
        description=f"There is one model, {MODEL}.", json_schema_extra={"enum": [MODEL]}
    )
    messages: list[Turn] = Field(
        min_length=1,
        description="The last of role user is the question; those of users and assistants before it are"
        " the history.",
    )
    stream: bool | None = Field(None, description="Whether the answer comes as events.")
    stream_options: StreamOptions | None = Field(None, description="Only include_usage is known.")
    n: Literal[1] | None = Field(None, description="There is one answer to a question.")
    tools: list[Any] | None = Field(None, max_length=0, description="Tools are not supported.")
    functions: list[Any] | None = Field(
        None, max_length=0, description="Functions are not supported."
    )
    logprobs: Literal[False] | None = Field(None, description="Logprobs are not supported.")
    top_logprobs: Literal[0] | None = Field(None, description="Logprobs are not supported.")
    response_format: TextFormat | None = Field(
        None, description="Only text is answered, with what it rests on as JSON beside it."
    )
    modalities: list[Literal["text"]] | None = Field(None, description="Only text is answered.")
    audio: None = Field(None, description="Audio is not supported.")

    def last(self) -> int:
        """Where the question stands. Raises QuestionError."""
        places = [place for place, turn in enumerate(self.messages) if turn.role == "user"]
        if not places:
            raise QuestionError("None of the messages is a user's.", remedy="Ask something.")
        return places[-1]

    def question(self) -> str:
        """Raises QuestionError."""
        return sound(self.messages[self.last()].content)

    def history(self) -> list[Message]:
        """What users and assistants said before the question. Raises QuestionError."""
        return [
            Message(role=turn.role, content=turn.content)
            for turn in self.messages[: self.last()]
            if turn.role == "user" or turn.role == "assistant"
        ]


# -- what is answered


class ArticleCitation(BaseModel):
    """A citation as `rag ask --json` has it, the verdict of its sentence, and where its marker stands.

    `content[start_index:end_index]` is the marker, `text[start:end]` of the article is the quote.
    """

    model_config = ConfigDict(extra="allow")

    marker: int
    article_id: str
    title: str
    date: str | None = None
    source: str | None = None
    url: str | None = None
    start: int
    end: int
    quote: str
    verdict: Verdict
    start_index: int
    end_index: int


class Annotation(BaseModel):
    type: Literal["article_citation"]
    article_citation: ArticleCitation


class Answered(BaseModel):
    role: Literal["assistant"]
    content: str
    refusal: None
    annotations: list[Annotation]


class Choice(BaseModel):
    index: Literal[0]
    message: Answered
    finish_reason: Literal["stop"]
    logprobs: None


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Completion(BaseModel):
    """An answer. `footnote` holds all of it, as `rag ask --json` has it."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    footnote: dict[str, Any]


class Delta(BaseModel):
    role: Literal["assistant"] | None = None
    content: str | None = None
    annotations: list[Annotation] | None = None


class ChunkChoice(BaseModel):
    index: Literal[0]
    delta: Delta
    finish_reason: Literal["stop"] | None


class Chunk(BaseModel):
    """A piece of an answer that is streamed; the last with a delta holds annotations and `footnote`."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None
    footnote: dict[str, Any] | None = None


class Model(BaseModel):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class Models(BaseModel):
    object: Literal["list"]
    data: list[Model]


class Problem(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class Refused(BaseModel):
    error: Problem


class Refusal(Exception):
    """A request that is not answered: its status, and why in words."""

    def __init__(
        self, status: int, message: str, code: str | None = None, *, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.told = refused(status, message, code, param=param)

    @property
    def headers(self) -> dict[str, str]:
        after = {429: BUSY_S, 503: LOADING_S}.get(self.status)
        return {"Retry-After": str(after)} if after else {}


def refused(
    status: int, message: str, code: str | None = None, *, param: str | None = None
) -> dict[str, Any]:
    """An error as OpenAI's API shapes it."""
    kind = {429: "rate_limit_error"}.get(status, "invalid_request_error")
    kind = "server_error" if status >= 500 else kind
    return Refused(error=Problem(message=message, type=kind, param=param, code=code)).model_dump()


# -- the application


def routes(desk: Desk) -> list[Any]:
    from starlette.routing import Mount

    return [Mount("/v1", app=_served(desk))]


def _served(desk: Desk) -> Any:
    from fastapi import FastAPI, Path, Request, Response
    from fastapi.responses import StreamingResponse

    served = FastAPI(
        title="Footnote",
        version=__version__,
        description="Answers from articles alone, each sentence checked against the one that it cites.",
        docs_url=None,
        redoc_url=None,
        exception_handlers=_handlers(),
        responses={"4XX": {"model": Refused}, "5XX": {"model": Refused}},
    )
    served.add_middleware(_Bounded)
    only = Model(id=MODEL, object="model", created=int(time.time()), owned_by=MODEL)

    @served.get("/models")
    def models() -> Models:
        """The models: one."""
        return Models(object="list", data=[only])

    @served.get("/models/{model}")
    def model(model: Annotated[str, Path(json_schema_extra={"enum": [MODEL]})]) -> Model:
        """The model of that name."""
        _check_model(model)
        return only

    @served.post(
        "/chat/completions",
        response_model=Completion,
        response_model_exclude_unset=True,
        responses={200: {"content": {"text/event-stream": {"schema": _EVENT}}}},
    )
    async def complete(asked: Asked, request: Request) -> Any:
        """Answer the last question of a conversation from the articles alone.

        With `stream`, each event is a chat.completion.chunk, and the last one `[DONE]`.
        """
        _check_model(asked.model)
        try:
            question, history = asked.question(), asked.history()
        except QuestionError as error:
            raise Refusal(400, str(error), "invalid_value", param="messages") from None
        chatbot = await _ready(desk)
        progress = desk.answering(chatbot, question, history, EVERYTHING, "", Face.V1)
        try:
            now = await anext(progress)
        except Busy:
            raise Refusal(429, EN("busy"), "too_many_waiting") from None
        if asked.stream:
            return StreamingResponse(
                _events(now, progress, asked),
                media_type="text/event-stream",
                headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
            )
        async with aclosing(progress):
            async for now in progress:
                if not now.over and await request.is_disconnected():
                    return Response(status_code=499)  # nobody reads it
        return _completion(_done(now))

    return served


_EVENT = {
    "type": "object",
    "properties": {"data": {"type": "string", "contentMediaType": "application/json"}},
    "required": ["data"],
}
"""Each event of a streamed answer; the data of the last one is no JSON."""


def _check_model(name: str) -> None:
    if name != MODEL:
        told = f"There is no model {name[:100]!r} here, only {MODEL!r}."
        raise Refusal(404, told, "model_not_found", param="model")


async def _ready(desk: Desk) -> Chatbot:
    await asyncio.to_thread(desk.reopen)
    if not desk.settled:
        raise Refusal(503, "The models are being loaded. Ask again in a moment.", "not_ready")
    if desk.chatbot is None or desk.broken:
        raise Refusal(503, desk.problem or EN("broken"), "not_ready")
    return desk.chatbot


def _done(last: Progress) -> Answer:
    """The answer of a question that is over. Raises Refusal."""
    if last.answer is None or last.problem or last.broken:
        raise Refusal(503, last.problem or EN("broken"), "not_answered")
    return last.answer


def _completion(answer: Answer) -> Completion:
    message = Answered(
        role="assistant", content=answer.text, refusal=None, annotations=annotations(answer)
    )
    choice = Choice(index=0, message=message, finish_reason="stop", logprobs=None)
    return Completion(
        **_head(),
        object="chat.completion",
        choices=[choice],
        usage=_usage(answer.timings),
        footnote=answer.as_json(),
    )


def _head() -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{secrets.token_hex(12)}",
        "created": int(time.time()),
        "model": MODEL,
    }


def _usage(timings: Timings) -> Usage:
    prompt, answer = timings.prompt_tokens, timings.answer_tokens
    return Usage(prompt_tokens=prompt, completion_tokens=answer, total_tokens=prompt + answer)


def annotations(answer: Answer) -> list[Annotation]:
    """One for each marker in the answer's text, in their order."""
    citations = {citation.marker: citation for citation in answer.citations}
    verdicts = {
        marker: sentence.verdict
        for sentence in sorted(answer.sentences, key=lambda sentence: sentence.supported)
        for marker in sentence.citations
    }
    return [
        Annotation(
            type="article_citation",
            article_citation=ArticleCitation(
                **citations[marker].as_json(),
                verdict=verdicts[marker],
                start_index=found.start(),
                end_index=found.end(),
            ),
        )
        for found in re.finditer(r"\[(\d+)\]", answer.text)
        if (marker := int(found[1])) in citations
    ]


# -- as events


async def _events(
    now: Progress, progress: AsyncGenerator[Progress], asked: Asked
) -> AsyncGenerator[str]:
    """The answer sentence by sentence; before it is there, comments that keep the connection open."""
    head = _head() | {"object": "chat.completion.chunk"}
    async with aclosing(progress):
        yield _event(Chunk(**head, choices=[_choice(Delta(role="assistant", content=""))]))
        async for now in progress:
            yield f": {f'place {now.place}' if now.place else 'working'}\n\n"
    try:
        answer = _done(now)
    except Refusal as refusal:
        yield f"data: {Refused.model_validate(refusal.told).model_dump_json()}\n\n"
        return
    for piece in _pieces(answer.text):
        yield _event(Chunk(**head, choices=[_choice(Delta(content=piece))]))
    last = _choice(Delta(annotations=annotations(answer)), "stop")
    yield _event(Chunk(**head, choices=[last], footnote=answer.as_json()))
    if asked.stream_options and asked.stream_options.include_usage:
        yield _event(Chunk(**head, choices=[], usage=_usage(answer.timings)))
    yield "data: [DONE]\n\n"


def _choice(delta: Delta, finish_reason: Literal["stop"] | None = None) -> ChunkChoice:
    return ChunkChoice(index=0, delta=delta, finish_reason=finish_reason)


def _event(chunk: Chunk) -> str:
    return f"data: {chunk.model_dump_json(exclude_unset=True)}\n\n"


def _pieces(text: str) -> Iterator[str]:
    """A text cut before each of its sentences; together they are the text."""
    starts = [start for start, _ in sentences(text)][1:]
    for start, end in zip([0, *starts], [*starts, len(text)], strict=True):
        yield text[start:end]


# -- what is refused


class _Bounded:
    """Turns away what is too large before it is read (ASGI); the server holds bodies to their length."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        from starlette.datastructures import Headers
        from starlette.responses import JSONResponse

        headers = Headers(scope=scope)
        app = self._app
        if "transfer-encoding" in headers:
            told = "The length of the request must be known. Send Content-Length."
            app = JSONResponse(refused(411, told), 411)
        elif int(headers.get("content-length", "0")) > MOST_BYTES:
            told = f"A request of more than {MOST_BYTES:,} bytes is not read. Shorten the history."
            app = JSONResponse(refused(413, told), 413)
        await app(scope, receive, send)


def _handlers() -> dict[Any, Any]:
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from starlette.exceptions import HTTPException

    def not_answered(request: Any, error: Refusal) -> Any:
        return JSONResponse(error.told, error.status, error.headers)

    def not_valid(request: Any, error: RequestValidationError) -> Any:
        return JSONResponse(_wrong(error.errors()[0]), 400)

    def not_there(request: Any, error: HTTPException) -> Any:
        told = refused(error.status_code, f"{error.detail}.")
        return JSONResponse(told, error.status_code, error.headers)

    def broken(request: Any, error: Exception) -> Any:
        return JSONResponse(refused(500, EN("broken")), 500)

    return {
        Refusal: not_answered,
        RequestValidationError: not_valid,
        HTTPException: not_there,
        Exception: broken,
    }


def _wrong(error: dict[str, Any]) -> dict[str, Any]:
    """What pydantic found, in words: where, what is wrong with it, and what would be right."""
    place = [str(part) for part in error["loc"][1:]]
    if error["type"] == "json_invalid":
        return refused(400, f"The request is no JSON: {error['ctx']['error']}.")
    if not place:
        return refused(400, "The request is no JSON object sent as application/json.")
    param = re.sub(r"\.(\d+)", r"[\1]", ".".join(place))
    field = Asked.model_fields.get(place[0])
    known = f" {field.description}" if field and place[0] != "messages" else ""
    return refused(400, f"{param}: {error['msg']}.{known}", error["type"], param=param)
