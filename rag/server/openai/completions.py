"""Answers as chat completions, whole or streamed."""

import re
import secrets
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any, Literal

from rag.server.answer_task import AnswerStatus
from rag.server.errors import ServiceUnavailable
from rag.server.openai.schemas import (
    MODEL_NAME,
    Annotation,
    ArticleCitation,
    AssistantMessage,
    ChatCompletion,
    ChatCompletionChunk,
    Choice,
    ChoiceDelta,
    ChunkChoice,
    Usage,
)
from rag.server.openai_errors import ErrorResponse, error_body
from rag.text.sentences import sentences
from rag.types import Answer, Timings


def build_completion(answer: Answer) -> ChatCompletion:
    """Return an answer as a chat completion."""
    message = AssistantMessage(
        role="assistant", content=answer.text, refusal=None, annotations=annotate(answer)
    )
    choice = Choice(index=0, message=message, finish_reason="stop", logprobs=None)
    return ChatCompletion(
        **_envelope(),
        object="chat.completion",
        choices=[choice],
        usage=_usage(answer.timings),
        footnote=answer.as_json(),
    )


async def stream_events(
    statuses: AsyncGenerator[AnswerStatus], *, include_usage: bool
) -> AsyncGenerator[str]:
    """Yield an answer as server-sent events, sentence by sentence, once it is complete.

    Before it is, yield comments, which keep the connection open.

    Args:
        statuses: The statuses of the question, which end with one that is done. They are closed when
            the client disconnects.
        include_usage: Whether to add an event with the number of tokens.
    """
    envelope = _envelope() | {"object": "chat.completion.chunk"}

    def event(*choices: ChunkChoice, **fields: Any) -> str:
        chunk = ChatCompletionChunk(**envelope, choices=list(choices), **fields)
        return f"data: {chunk.model_dump_json(exclude_unset=True)}\n\n"

    last = AnswerStatus()
    async with aclosing(statuses):
        yield event(_choice(ChoiceDelta(role="assistant", content="")))
        async for last in statuses:
            yield f": {f'place {last.position}' if last.position else 'working'}\n\n"
    try:
        answer = last.final_answer()
    except ServiceUnavailable as error:
        body = ErrorResponse.model_validate(error_body(503, str(error), "not_answered"))
        yield f"data: {body.model_dump_json()}\n\n"
        return
    for piece in split_sentences(answer.text):
        yield event(_choice(ChoiceDelta(content=piece)))
    final = _choice(ChoiceDelta(annotations=annotate(answer)), "stop")
    yield event(final, footnote=answer.as_json())
    if include_usage:
        yield event(usage=_usage(answer.timings))
    yield "data: [DONE]\n\n"


def annotate(answer: Answer) -> list[Annotation]:
    """Return an annotation for each citation marker in the answer's text, in their order."""
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
                start_index=match.start(),
                end_index=match.end(),
            ),
        )
        for match in re.finditer(r"\[(\d+)\]", answer.text)
        if (marker := int(match[1])) in citations
    ]


def split_sentences(text: str) -> Iterator[str]:
    """Yield a text in pieces that begin with its sentences; joined, they are the text."""
    starts = [start for start, _ in sentences(text)][1:]
    for start, end in zip([0, *starts], [*starts, len(text)], strict=True):
        yield text[start:end]


def _envelope() -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{secrets.token_hex(12)}",
        "created": int(time.time()),
        "model": MODEL_NAME,
    }


def _usage(timings: Timings) -> Usage:
    return Usage(
        prompt_tokens=timings.prompt_tokens,
        completion_tokens=timings.answer_tokens,
        total_tokens=timings.prompt_tokens + timings.answer_tokens,
    )


def _choice(delta: ChoiceDelta, finish_reason: Literal["stop"] | None = None) -> ChunkChoice:
    return ChunkChoice(index=0, delta=delta, finish_reason=finish_reason)
