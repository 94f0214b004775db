"""The program's own texts in the language of the reader, one JSON file per language in `locales/`.

Answers and errors contain phrases, which are codes with parameters, and quotations. Each interface
renders them with the `Texts` of a language: the page in the reader's language, all others in English.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Protocol

Locale = Mapping[str, str | Mapping[str, str]]
"""Key → text, or its "one" and "other" plural forms, which the parameter `n` selects."""

Value = str | int

DEFAULT_LANGUAGE = "en"

_PLACEHOLDER = re.compile(r"{(\w+)}")


class Texts:
    """The texts of one language; those that it lacks are in English."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._locale = {**load_locales()[DEFAULT_LANGUAGE], **load_locales()[language]}

    def __call__(self, key: str, **values: Value) -> str:
        """Return the text with its placeholders replaced by `values`.

        A text with plural forms needs the value `n`. Integers get the separators of the language.
        """
        entry = self._locale[key]
        if not isinstance(entry, str):
            entry = entry["one" if values["n"] == 1 else "other"]
        shown = {
            name: value if isinstance(value, str) else self.number(value)
            for name, value in values.items()
        }
        return entry.format(**shown)

    def number(self, value: float, decimals: int = 0) -> str:
        """Return the number with the separators of the language."""
        separators = self("thousands_separator") + self("decimal_separator")
        return f"{value:,.{decimals}f}".translate(str.maketrans(",.", separators))

    def matches(self, key: str, text: str) -> bool:
        """Whether a text is the text of that key, with any values."""
        entry = self._locale[key]
        templates = [entry] if isinstance(entry, str) else entry.values()
        return any(_template_pattern(template).fullmatch(text) for template in templates)


class Localizable(Protocol):
    """What the program says to a reader. `str()` returns it in English."""

    def text_in(self, texts: Texts) -> str:
        """Return it in a language."""
        ...


@dataclass(frozen=True, slots=True)
class Phrase:
    """A text of the program, independent of language.

    Attributes:
        code: The key of the text in `locales/`; for programs, what is said.
        values: The values of the text's placeholders.

    Raises:
        ValueError: There is no such text, or its placeholders are others.
    """

    code: str
    values: Mapping[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        expected = placeholders(self.code)
        if self.values.keys() != expected:
            names = ", ".join(sorted(expected)) or "no values"
            raise ValueError(f"The text {self.code!r} takes {names}, not {sorted(self.values)}.")

    def text_in(self, texts: Texts) -> str:
        """Return the phrase in a language."""
        return texts(self.code, **self.values)

    def __str__(self) -> str:
        return self.text_in(english())

    def __hash__(self) -> int:
        return hash((self.code, frozenset(self.values.items())))


def phrase(code: str, **values: Value) -> Phrase:
    """Return the phrase with these values; `code` may be the member of an enumeration."""
    return Phrase(str(code), values)


def encode_phrase(phrase: Phrase) -> str:
    """Return the phrase as JSON, to be stored."""
    return json.dumps({"code": phrase.code, "values": dict(phrase.values)})


def decode_phrase(stored: str) -> Phrase:
    """Return the phrase of `encode_phrase`; any other text, as earlier versions stored, as it is."""
    try:
        return Phrase(**json.loads(stored))
    except (ValueError, TypeError):
        return phrase("untranslated", text=stored)


@cache
def english() -> Texts:
    """Return the English texts."""
    return Texts(DEFAULT_LANGUAGE)


@cache
def placeholders(code: str) -> frozenset[str]:
    """Return the names of a text's placeholders. Raises ValueError if there is no such text."""
    entry = load_locales()[DEFAULT_LANGUAGE].get(code)
    if entry is None:
        raise ValueError(f"There is no text {code!r}.")
    return placeholders_of(entry)


def placeholders_of(entry: str | Mapping[str, str]) -> frozenset[str]:
    """Return the names of the placeholders in an entry of a locale."""
    if isinstance(entry, str):
        return frozenset(_PLACEHOLDER.findall(entry))
    return frozenset({"n"}).union(*map(placeholders_of, entry.values()))


@cache
def load_locales() -> dict[str, Locale]:
    """Return the texts of all languages, by language code."""
    folder = files("rag").joinpath("locales")
    locale_files = (file for file in folder.iterdir() if file.name.endswith(".json"))
    return {
        file.name.removesuffix(".json"): json.loads(file.read_text(encoding="utf-8"))
        for file in locale_files
    }


def texts_for(accept_language: str) -> Texts:
    """Return the texts in the first available language of an Accept-Language header, else English."""
    codes = (part.split(";")[0].strip()[:2].lower() for part in accept_language.split(","))
    return Texts(next((code for code in codes if code in load_locales()), DEFAULT_LANGUAGE))


def is_any_text(text: str, codes: Iterable[str]) -> bool:
    """Whether a text is the text of one of these codes, in any language.

    Only for conversations that come back from clients as plain text.
    """
    locales = [Texts(language) for language in load_locales()]
    return any(texts.matches(code, text) for code in codes for texts in locales)


@cache
def _template_pattern(template: str) -> re.Pattern[str]:
    literals = _PLACEHOLDER.split(template)[::2]  # between them are the placeholders' names
    return re.compile(".*".join(map(re.escape, literals)), re.DOTALL)
