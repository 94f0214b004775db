"""The real page with a generator that writes what it is told, slowly: `scripted_page.py INDEX PORT`.

The draft is whatever stands in the environment's DRAFT; each word takes PAUSE seconds, and is noted
in the file WRITTEN.
"""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rag import chatbot, settings, web
from rag.datatypes import Message
from rag.prompt import SMALL


class ScriptedGenerator:
    """A generator (rag.generator.Generator) made like the one of llama.cpp."""

    ability = SMALL
    context, memory = 2048, 0
    problem = ""

    def __init__(self, *loaded: object) -> None:
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
    chatbot.SupervisedGenerator = ScriptedGenerator
    web.serve(settings.load(index=Path(sys.argv[1]), port=int(sys.argv[2])))
