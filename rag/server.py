"""Prompt → text, streamed, by a server that speaks OpenAI's API (vLLM, llama-server, Ollama, LM Studio).

Nothing is sent but what the user's own question takes, and only to the host that the user named.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cached_property
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any

from rag.datatypes import Message
from rag.errors import ModelError
from rag.generator import Pieces, Reading
from rag.prompt import capable

if TYPE_CHECKING:
    from openai import OpenAI

CONNECT_S, READ_S = 5.0, 60.0
"""Seconds to reach the server, and to the next piece of its answer."""

RETRIES = 2
"""Of a request of which nothing has come back yet, each after a longer pause."""

CHARACTERS_A_TOKEN = 3
"""Fewer than in any common vocabulary, so that what is counted fits: the server keeps its own."""

CONTEXT = 2048
"""Tokens of a server's model where it does not say how many it takes in."""

LEAST_CONTEXT, MOST_CONTEXT = 512, 8192
"""Fewer are not believed, and more no prompt of ours fills."""

AROUND = 8
"""Tokens that a template puts around a message."""


class ServerGenerator:
    """A model that somebody else runs. With no `model` named, the first that the server offers."""

    memory = 0
    """Bytes in this process."""
    problem = ""
    """Each question finds out by itself whether the server answers."""

    def __init__(self, url: str, model: str, key: str) -> None:
        self.name = model or url
        self.context = CONTEXT
        self.ability = capable(CONTEXT)
        self._url = url
        self._model = model
        self._key = key

    def load(self) -> None:
        """See whether the server answers, and what it offers. Raises ModelError."""
        with self._told():
            offered = {
                model.id: _context(model.model_dump()) for model in self._client.models.list()
            }
        if not self._model and not offered:
            raise ModelError(
                f"The server at {self._url} offers no model.", remedy="Load one there."
            )
        self._model = self._model or next(iter(offered))
        self.name = self._model
        self.context = min(offered.get(self._model) or CONTEXT, MOST_CONTEXT)
        self.ability = capable(self.context)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """At least as many as the messages are."""
        return sum(AROUND + len(message["content"]) // CHARACTERS_A_TOKEN for message in messages)

    def short_answer(self, messages: Sequence[Message]) -> Reading:
        """Nothing: it was not taught to."""
        yield from ()

    def stream(self, messages: Sequence[Message]) -> Pieces:
        """The model's answer, piece by piece; closing the iterator hangs up. Raises ModelError.

        What it thinks stands between <think> and </think>.
        """
        if not self._model:
            self.load()
        with self._told():
            answer: Any = self._client.chat.completions.create(
                model=self._model,
                messages=messages,  # type: ignore[arg-type]
                max_tokens=self.ability.answer_tokens,
                temperature=0.0,
                stream=True,
            )
        thinking = False
        with closing(answer), self._told():
            for thought, said in self._pieces(answer):
                if bool(thought) != thinking:
                    thinking = bool(thought)
                    yield "<think>" if thinking else "</think>"
                yield thought or said

    def _pieces(self, answer: Any) -> Iterator[tuple[str, str]]:
        """What is thought, or said, of each piece. Raises ModelError when the answer has no end."""
        from openai import APIConnectionError, APITimeoutError

        finished = False
        try:
            for chunk in answer:
                for choice in chunk.choices[:1]:
                    finished = finished or choice.finish_reason is not None
                    thought = getattr(choice.delta, "reasoning_content", None) or ""
                    said = choice.delta.content or ""
                    if thought or said:
                        yield thought, said
        except APITimeoutError:
            raise
        except APIConnectionError as error:
            raise self._cut_off() from error
        if not finished:
            raise self._cut_off()

    def _cut_off(self) -> ModelError:
        return ModelError(
            f"The server at {self._url} broke off in the middle of its answer.",
            remedy="Ask again, or see what it says of it itself.",
        )

    @cached_property
    def _client(self) -> "OpenAI":
        from openai import OpenAI, Timeout

        # Without a key given here, the one of the environment would go to a server not meant for it.
        return OpenAI(
            base_url=self._url,
            api_key=self._key or "none",
            organization="",
            project="",
            timeout=Timeout(READ_S, connect=CONNECT_S),
            max_retries=RETRIES,
        )

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What goes wrong on the way, as ModelError."""
        import openai

        try:
            yield
        except openai.APITimeoutError as error:
            raise self._problem(
                f"has not answered for {READ_S:.0f} s", "See whether it is busy."
            ) from error
        except openai.APIConnectionError as error:
            raise self._problem("cannot be reached", "Start it.") from error
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise self._problem("does not accept the key", "Set RAG_API_KEY to its own.") from error
        except openai.NotFoundError as error:
            raise self._problem(
                f"knows no model {self._model!r}, or the address is another",
                "Set RAG_MODEL to one that it offers; the address ends in /v1.",
            ) from error
        except openai.RateLimitError as error:
            raise self._problem("has too much to do", "Ask again later.") from error
        except openai.APIStatusError as error:
            raise self._problem(
                f"failed (status {error.status_code})", "See what it says of it itself."
            ) from error
        except (openai.OpenAIError, JSONDecodeError, AttributeError, TypeError) as error:
            raise self._problem(
                "does not answer as OpenAI's API does", "See that the address ends in /v1."
            ) from error

    def _problem(self, problem: str, remedy: str) -> ModelError:
        return ModelError(
            f"The server at {self._url} {problem}.",
            remedy=f"{remedy} Or leave RAG_GENERATOR out for the embedded model.",
        )


def _context(about: dict[str, Any]) -> int:
    """Tokens that a model takes in, as vLLM or llama-server tell it with its name; 0 where none does."""
    meta = about.get("meta")
    told = about.get("max_model_len") or (meta.get("n_ctx") if isinstance(meta, dict) else None)
    return told if isinstance(told, int) and told >= LEAST_CONTEXT else 0
