"""Serves the page with a scripted generator: `scripted_page.py INDEX PORT`.

The generator writes the text in the environment variable DRAFT, takes PAUSE seconds for each word, and
appends each word to the file WRITTEN.
"""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rag import server, settings
from rag.answering import loading
from rag.models.generation.prompts import TINY
from rag.types import Message


class ScriptedGenerator:
    """A `rag.models.generation.llama.LanguageModel` with the constructor of the embedded model."""

    profile = TINY
    context, memory = 2048, 0
    problem = ""

    def __init__(self, *arguments: object) -> None:
        self.name = "scripted"
        self._written = Path(os.environ["WRITTEN"])

    def load(self) -> None:
        pass

    def count_tokens(self, messages: Sequence[Message]) -> int:
        return 100

    def short_answer(self, messages: Sequence[Message]) -> Iterator[None]:
        yield from ()

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        for word in os.environ["DRAFT"].split():
            time.sleep(float(os.environ["PAUSE"]))
            with self._written.open("a") as file:
                file.write(f"{word}\n")
            yield f"{word} "


if __name__ == "__main__":
    loading.SupervisedGenerator = ScriptedGenerator
    server.serve(settings.load(index=Path(sys.argv[1]), port=int(sys.argv[2])))
