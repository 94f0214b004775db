"""The words of the page, in each language that has a file in texts/."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

Entries = Mapping[str, str | Mapping[str, str]]

DEFAULT = "en"


class Texts:
    """The words of one language; what it lacks is said in English."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._entries = {**entries()[DEFAULT], **entries()[language]}

    def __call__(self, key: str, **values: object) -> str:
        """The text of that key with the values put in."""
        return self._form(key, "other").format(**values)

    def counted(self, key: str, n: int, **values: object) -> str:
        """The text of that key for `n` things."""
        form = "one" if n == 1 else "other"
        return self._form(key, form).format(n=f"{n:,}", **values)

    def _form(self, key: str, form: str) -> str:
        entry = self._entries[key]
        return entry if isinstance(entry, str) else entry[form]


@cache
def entries() -> dict[str, Entries]:
    """Language → key → text, or its forms for one and for other numbers."""
    folder = files("rag.web").joinpath("texts")
    found = (file for file in folder.iterdir() if file.name.endswith(".json"))
    return {file.name[:-5]: json.loads(file.read_text(encoding="utf-8")) for file in found}


def for_reader(accepted: str) -> Texts:
    """In the first language of an Accept-Language header of which there is a file, else English."""
    wanted = (part.split(";")[0].strip()[:2].lower() for part in accepted.split(","))
    return Texts(next((language for language in wanted if language in entries()), DEFAULT))
