"""The page's texts: complete in every language, used, and chosen by the browser's language."""

import json
import re
from pathlib import Path

import pytest

import rag.server
from rag.server.ui.i18n import Texts, load_locales, texts_for
from rag.store.browse import ArticleSort
from rag.types import Notice, Verdict

KEY = re.compile(r"""\bt(?:\.counted)?\(\s*["'](\w+)["'](?!\s*~)""")
EITHER_KEY = re.compile(r"""\bt\(\s*"(\w+)" if [^,)]+ else "(\w+)"[,)]""")
KEYS_OF_ENUMS = {
    *(order.value for order in ArticleSort),
    *(f"notice_{notice.value}" for notice in Notice),
    *(f"verdict_{verdict.value}" for verdict in Verdict if verdict is not Verdict.SUPPORTED),
}


@pytest.fixture(scope="module")
def source() -> str:
    """The code and the templates of the server."""
    folder = Path(rag.server.__file__).parent
    files = (*folder.rglob("*.py"), *folder.rglob("*.j2"))
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def test_every_text_that_is_used_exists(source: str) -> None:
    keys = {*KEY.findall(source), *(key for keys in EITHER_KEY.findall(source) for key in keys)}
    assert {"ask", "back", "thinking", "reading", "n_articles"} <= keys, "the patterns are wrong"
    assert (keys | KEYS_OF_ENUMS) - set(load_locales()["en"]) == set()


def test_every_text_is_used(source: str) -> None:
    quoted = set(re.findall(r"""["'](\w+)["']""", source))
    assert set(load_locales()["en"]) - quoted - KEYS_OF_ENUMS == {"language"}


@pytest.mark.parametrize(
    ("language", "count", "seconds"), [("en", "12,345", "1,234.5"), ("de", "12.345", "1.234,5")]
)
def test_numbers_are_written_as_in_the_language(language: str, count: str, seconds: str) -> None:
    texts = Texts(language)
    assert count in texts.counted("n_articles", 12_345)
    assert texts.number(1234.5, decimals=1) == seconds


@pytest.mark.parametrize("language", sorted(load_locales()))
def test_every_language_has_the_keys_of_english_with_the_same_placeholders(language: str) -> None:
    def placeholders(entry: object) -> set[str]:
        return set(re.findall(r"{(\w+)}", json.dumps(entry)))

    english, other = load_locales()["en"], load_locales()[language]
    assert other.keys() <= english.keys()
    for key in other:
        assert placeholders(other[key]) == placeholders(english[key]), key
    assert len(english.keys() - other.keys()) <= 2, "texts without a translation are in English"


@pytest.mark.parametrize(
    ("accept_language", "language"),
    [
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("fr,en-GB;q=0.5", "en"),
        ("tlh", "en"),
        ("", "en"),
        (",;q=,", "en"),
    ],
)
def test_the_first_language_that_the_browser_accepts_and_the_page_has_is_chosen(
    accept_language: str, language: str
) -> None:
    assert texts_for(accept_language).language == language
