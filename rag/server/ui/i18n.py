"""Translated texts of the page, one JSON file per language in `locales/`."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

Locale = Mapping[str, str | Mapping[str, str]]
"""Key → text, or its "one" and "other" plural forms."""

DEFAULT_LANGUAGE = "en"


class Texts:
    """The texts of one language; those that it lacks are in English."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._locale = {**load_locales()[DEFAULT_LANGUAGE], **load_locales()[language]}

    def __call__(self, key: str, **values: object) -> str:
        """Return the text with its placeholders replaced by `values`."""
        return self._form(key, "other").format(**values)

    def counted(self, key: str, n: int, **values: object) -> str:
        """Return the singular or plural form of the text for `n` things."""
        form = "one" if n == 1 else "other"
        return self._form(key, form).format(n=self.number(n), **values)

    def number(self, value: float, decimals: int = 0) -> str:
        """Return the number with the separators of the language."""
        separators = self("thousands_separator") + self("decimal_separator")
        return f"{value:,.{decimals}f}".translate(str.maketrans(",.", separators))

    def _form(self, key: str, form: str) -> str:
        entry = self._locale[key]
        return entry if isinstance(entry, str) else entry[form]


@cache
def load_locales() -> dict[str, Locale]:
    """Return the texts of all languages, by language code."""
    folder = files("rag.server.ui").joinpath("locales")
    locale_files = (file for file in folder.iterdir() if file.name.endswith(".json"))
    return {
        file.name.removesuffix(".json"): json.loads(file.read_text(encoding="utf-8"))
        for file in locale_files
    }


def texts_for(accept_language: str) -> Texts:
    """Return the texts in the first available language of an Accept-Language header, else English."""
    codes = (part.split(";")[0].strip()[:2].lower() for part in accept_language.split(","))
    return Texts(next((code for code in codes if code in load_locales()), DEFAULT_LANGUAGE))
