"""The interface of language models."""

from collections.abc import Generator, Sequence
from typing import Protocol

from rag.models.generation.prompts import GenerationProfile
from rag.types import Message

TextStream = Generator[str]
"""Text, piece by piece, as a model generates it. Closing it stops the model."""


class LanguageModel(Protocol):
    """A model that writes answers. Tests replace it with a scripted one.

    Attributes:
        name: The name by which users know it.
    """

    name: str

    @property
    def problem(self) -> str:
        """Why the model is off until the program is restarted, and the remedy; empty while it works."""
        ...

    @property
    def profile(self) -> GenerationProfile:
        """How the model is prompted."""
        ...

    @property
    def context(self) -> int:
        """The context length: tokens of a prompt and its answer together."""
        ...

    @property
    def memory(self) -> int:
        """Bytes of memory that loading the model will take on this machine; 0 once it is loaded."""
        ...

    def load(self) -> None:
        """Load the model now instead of on first use. Raises ModelError."""
        ...

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Count the tokens of the prompt that the messages become in the model's chat template."""
        ...

    def stream(self, messages: Sequence[Message]) -> TextStream:
        """Generate an answer, reasoning included, at temperature 0.

        Yields:
            Pieces of text; empty ones while the model reads the prompt.
        """
        ...
