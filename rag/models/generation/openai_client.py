"""Language model behind an OpenAI-compatible HTTP API (vLLM, llama-server, Ollama, LM Studio).

Only prompts are sent, and only to the server that the user named.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cached_property
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any

from rag.errors import ModelError
from rag.models.generation.base import TextStream
from rag.models.generation.prompts import general_profile
from rag.settings import variable_name
from rag.types import Message

if TYPE_CHECKING:
    from openai import OpenAI

CONNECT_TIMEOUT_S = 5.0
"""Seconds to wait for the connection."""

READ_TIMEOUT_S = 60.0
"""Seconds to wait for the next piece of an answer."""

MAX_RETRIES = 2
"""Retries of a request that failed before any of its answer arrived, with growing pauses."""

CHARACTERS_PER_TOKEN = 3
"""A low estimate for common vocabularies, so that prompts fit: the server's vocabulary is not known."""

TEMPLATE_TOKENS = 8
"""Estimate of the tokens that a chat template adds to a message."""

DEFAULT_CONTEXT = 2048
"""The context length, in tokens, of a server that does not report it."""

MIN_CONTEXT = 512
"""Smaller reported context lengths are not believed."""

MAX_CONTEXT = 8192
"""Tokens of context; no prompt of this program fills more."""


class ServerGenerator:
    """A `LanguageModel` that runs on a server.

    Args:
        url: The address of the API, which ends in /v1.
        model: The model's name; empty for the first one that the server lists.
        key: The API key; empty for none.
    """

    memory = 0
    """The model takes no memory of this process."""
    problem = ""
    """Always empty: each question tries to reach the server."""

    def __init__(self, url: str, model: str, key: str) -> None:
        self.name = model or url
        self.context = DEFAULT_CONTEXT
        self.profile = general_profile(DEFAULT_CONTEXT)
        self._url = url
        self._model = model
        self._key = key

    def load(self) -> None:
        """Check that the server answers, and read which models it has. Raises ModelError."""
        with self._translate_errors():
            contexts = {
                model.id: _reported_context(model.model_dump())
                for model in self._client.models.list()
            }
        if not self._model and not contexts:
            raise ModelError(f"The server at {self._url} lists no model.", remedy="Load one there.")
        self._model = self._model or next(iter(contexts))
        self.name = self._model
        self.context = min(contexts.get(self._model) or DEFAULT_CONTEXT, MAX_CONTEXT)
        self.profile = general_profile(self.context)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Estimate the tokens of the messages; rather too many than too few."""
        return sum(
            TEMPLATE_TOKENS + len(message["content"]) // CHARACTERS_PER_TOKEN
            for message in messages
        )

    def stream(self, messages: Sequence[Message]) -> TextStream:
        """Generate an answer; closing the iterator closes the connection.

        Yields:
            Pieces of text, with reasoning between <think> and </think>.

        Raises:
            ModelError: The server cannot be reached, or fails.
        """
        if not self._model:
            self.load()
        with self._translate_errors():
            chunks: Any = self._client.chat.completions.create(
                model=self._model,
                messages=messages,  # type: ignore[arg-type]
                max_tokens=self.profile.answer_tokens,
                temperature=0.0,
                stream=True,
            )
        in_reasoning = False
        with closing(chunks), self._translate_errors():
            for reasoning, content in self._pieces(chunks):
                if bool(reasoning) != in_reasoning:
                    in_reasoning = bool(reasoning)
                    yield "<think>" if in_reasoning else "</think>"
                yield reasoning or content

    def _pieces(self, chunks: Any) -> Iterator[tuple[str, str]]:
        """Yield reasoning and content of each chunk. Raises ModelError if the stream is cut off."""
        from openai import APIConnectionError, APITimeoutError

        finished = False
        try:
            for chunk in chunks:
                for choice in chunk.choices[:1]:
                    finished = finished or choice.finish_reason is not None
                    reasoning = getattr(choice.delta, "reasoning_content", None) or ""
                    content = choice.delta.content or ""
                    if reasoning or content:
                        yield reasoning, content
        except APITimeoutError:
            raise
        except APIConnectionError as error:
            raise self._cut_off() from error
        if not finished:
            raise self._cut_off()

    def _cut_off(self) -> ModelError:
        return ModelError(
            f"The server at {self._url} closed the connection in the middle of its answer.",
            remedy="Ask again, or check the server's log.",
        )

    @cached_property
    def _client(self) -> "OpenAI":
        from openai import OpenAI, Timeout

        # Without an explicit key, the library would send OPENAI_API_KEY, which is for another server.
        return OpenAI(
            base_url=self._url,
            api_key=self._key or "none",
            organization="",
            project="",
            timeout=Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            max_retries=MAX_RETRIES,
        )

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Raise ModelError for the library's errors."""
        import openai

        try:
            yield
        except openai.APITimeoutError as error:
            raise self._error(
                f"has not answered for {READ_TIMEOUT_S:.0f} s", "Check whether it is overloaded."
            ) from error
        except openai.APIConnectionError as error:
            raise self._error("cannot be reached", "Start it.") from error
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise self._error(
                "rejects the API key", f"Set {variable_name('generator_api_key')} to a valid key."
            ) from error
        except openai.NotFoundError as error:
            raise self._error(
                f"has no model {self._model!r}, or its API has another address",
                f"Set {variable_name('generator_model')} to a model that it lists;"
                " the address ends in /v1.",
            ) from error
        except openai.RateLimitError as error:
            raise self._error("is over its rate limit", "Ask again later.") from error
        except openai.APIStatusError as error:
            raise self._error(
                f"failed with HTTP status {error.status_code}", "Check the server's log."
            ) from error
        except (openai.OpenAIError, JSONDecodeError, AttributeError, TypeError) as error:
            raise self._error(
                "does not implement the OpenAI API", "Check that the address ends in /v1."
            ) from error

    def _error(self, problem: str, remedy: str) -> ModelError:
        return ModelError(
            f"The server at {self._url} {problem}.",
            remedy=f"{remedy} Or unset RAG_GENERATOR to use the embedded model.",
        )


def _reported_context(model: dict[str, Any]) -> int:
    """Return the context length that vLLM or llama-server reports with a model; 0 if there is none."""
    meta = model.get("meta")
    context = model.get("max_model_len") or (meta.get("n_ctx") if isinstance(meta, dict) else None)
    return context if isinstance(context, int) and context >= MIN_CONTEXT else 0
