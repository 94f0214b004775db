"""Serves the page with a scripted generator: `scripted_page.py INDEX PORT`.

For each question, the generator reads the JSON file that the environment variable SCRIPT names. It
writes the text `draft`, takes `pause` seconds for each word, and appends each word to the file
`written`.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest.mock import patch

from rag import server, settings
from rag.answering import loading
from rag.models.generation.prompts import general_profile
from rag.types import Message


class ScriptedGenerator:
    """A `rag.models.generation.llama.LanguageModel` with the constructor of the embedded model."""

    profile = general_profile(2048)
    context, memory = 2048, 0
    problem = ""

    def __init__(self, *arguments: object) -> None:
        self.name = "scripted"

    def load(self) -> None:
        pass

    def count_tokens(self, messages: Sequence[Message]) -> int:
        return 100

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        script = json.loads(Path(os.environ["SCRIPT"]).read_text())
        for word in script["draft"].split():
            time.sleep(script["pause"])
            with Path(script["written"]).open("a") as file:
                file.write(f"{word}\n")
            yield f"{word} "


if __name__ == "__main__":
    with patch.object(loading, "SupervisedGenerator", ScriptedGenerator):
        server.serve(settings.load(index=Path(sys.argv[1]), port=int(sys.argv[2])))
