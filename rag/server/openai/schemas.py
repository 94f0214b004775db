"""Requests and responses of OpenAI's chat completions API, as pydantic models.

FastAPI makes the description at `/v1/openapi.json` from them.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from rag.answering.question import validate_question
from rag.errors import QuestionError
from rag.types import Message, Verdict

MODEL_NAME = "footnote"


# -- requests


class TextPart(BaseModel):
    type: Literal["text"]
    text: str


def _join_text_parts(content: object) -> object:
    """Return the text of a message's content, which is a string or a list of parts."""
    text = "" if content is None else content
    parts = content if isinstance(content, list) else [{"type": "text", "text": text}]
    return "\n".join(_part_text(part) for part in parts)


def _part_text(part: object) -> str:
    part_type = part.get("type") if isinstance(part, dict) else part
    text = part.get("text") if isinstance(part, dict) else None
    if part_type != "text":
        raise PydanticCustomError(
            "unsupported_value", "Only text is read, not {type}", {"type": repr(part_type)[:100]}
        )
    try:
        str.encode(text)  # type: ignore[arg-type]
    except (TypeError, UnicodeEncodeError):
        raise PydanticCustomError(
            "invalid_type", "Input should be text in whole characters"
        ) from None
    return str(text)


class ChatMessage(BaseModel):
    """A message. Those of role system or developer are ignored: answers come from the articles alone."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[
        str,
        BeforeValidator(_join_text_parts, json_schema_input_type=str | list[TextPart] | None),
    ] = ""


class StreamOptions(BaseModel):
    include_usage: bool | None = None


class TextFormat(BaseModel):
    type: Literal["text"]


class ChatCompletionRequest(BaseModel):
    """A question, and the messages before it. Fields that are not listed here are ignored.

    A field's description is sent to a client that gives it another value.
    """

    model: str = Field(
        description=f"There is one model, {MODEL_NAME}.", json_schema_extra={"enum": [MODEL_NAME]}
    )
    messages: list[ChatMessage] = Field(
        min_length=1,
        description="The last message of role user is the question; those of users and assistants before"
        " it are the history.",
    )
    stream: bool | None = Field(None, description="Whether to send the answer as events.")
    stream_options: StreamOptions | None = Field(
        None, description="Only include_usage is supported."
    )
    n: Literal[1] | None = Field(None, description="There is one answer to a question.")
    tools: list[Any] | None = Field(None, max_length=0, description="Tools are not supported.")
    functions: list[Any] | None = Field(
        None, max_length=0, description="Functions are not supported."
    )
    logprobs: Literal[False] | None = Field(None, description="Logprobs are not supported.")
    top_logprobs: Literal[0] | None = Field(None, description="Logprobs are not supported.")
    response_format: TextFormat | None = Field(
        None, description="Only text is returned, with its evidence as JSON beside it."
    )
    modalities: list[Literal["text"]] | None = Field(None, description="Only text is returned.")
    audio: None = Field(None, description="Audio is not supported.")

    def question(self) -> str:
        """Return the last message of role user.

        Raises:
            QuestionError: There is none, or it is empty, too long or not valid Unicode.
        """
        return validate_question(self.last_user_message())

    def last_user_message(self) -> str:
        """Return the last message of role user, whatever it is. Raises QuestionError if there is none."""
        return self.messages[self._question_index()].content

    def history(self) -> list[Message]:
        """Return the messages of users and assistants before the question.

        Raises:
            QuestionError: There is no question.
        """
        return [
            Message(role=message.role, content=message.content)
            for message in self.messages[: self._question_index()]
            if message.role == "user" or message.role == "assistant"
        ]

    def _question_index(self) -> int:
        indices = [index for index, each in enumerate(self.messages) if each.role == "user"]
        if not indices:
            raise QuestionError(
                "None of the messages has the role user.", remedy="Add a question with that role."
            )
        return indices[-1]


# -- responses


class ArticleCitation(BaseModel):
    """A citation as in `rag ask --json`, with its sentence's verdict and its marker's offsets.

    `content[start_index:end_index]` of the message is the marker, `text[start:end]` of the article is the
    quote.
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


class AssistantMessage(BaseModel):
    role: Literal["assistant"]
    content: str
    refusal: None
    annotations: list[Annotation]


class Choice(BaseModel):
    index: Literal[0]
    message: AssistantMessage
    finish_reason: Literal["stop"]
    logprobs: None


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatCompletion(BaseModel):
    """An answer; `footnote` is the whole of it, as in `rag ask --json`."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    footnote: dict[str, Any]


class ChoiceDelta(BaseModel):
    role: Literal["assistant"] | None = None
    content: str | None = None
    annotations: list[Annotation] | None = None


class ChunkChoice(BaseModel):
    index: Literal[0]
    delta: ChoiceDelta
    finish_reason: Literal["stop"] | None


class ChatCompletionChunk(BaseModel):
    """A piece of a streamed answer; the last one with a delta has its annotations and `footnote`."""

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


class ModelList(BaseModel):
    object: Literal["list"]
    data: list[Model]


EVENT_SCHEMA = {
    "type": "object",
    "properties": {"data": {"type": "string", "contentMediaType": "application/json"}},
    "required": ["data"],
}
"""JSON schema of an event of a streamed answer; only the data of the last one is no JSON."""
