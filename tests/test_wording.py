"""The program's texts: complete in every language, used with the right values, and chosen by language."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rag
from rag.answering.smalltalk import SmallTalk
from rag.errors import ModelError, QuestionError, RagError
from rag.store.browse import ArticleSort
from rag.types import Notice, QuestionKind, Reason, Refusal, Sentence, Verdict
from rag.wording import (
    Phrase,
    Texts,
    Value,
    decode_phrase,
    encode_phrase,
    english,
    is_any_text,
    load_locales,
    phrase,
    placeholders,
    placeholders_of,
    texts_for,
)

LANGUAGES = sorted(load_locales())
CODES = sorted(load_locales()["en"])
CODE_ENUMS = (Refusal, Reason, SmallTalk)
# Keys of the page's own texts, as its code and its templates use them.
KEY = re.compile(r"""\bt(?:exts)?\(\s*["'](\w+)["'](?!\s*~)""")
EITHER_KEY = re.compile(r"""\bt\(\s*"(\w+)" if [^,)]+ else "(\w+)"[,)]""")
KEYS_OF_ENUMS = {
    *(order.value for order in ArticleSort),
    *(f"kind_{kind.value}" for kind in QuestionKind),
    *(f"notice_{notice.value}" for notice in Notice),
    *(f"verdict_{verdict.value}" for verdict in Verdict if verdict is not Verdict.SUPPORTED),
    *(code.value for codes in CODE_ENUMS for code in codes),
}


def python_files() -> list[Path]:
    return sorted(Path(rag.__file__).parent.rglob("*.py"))


@pytest.fixture(scope="module")
def source() -> str:
    """All code, and the templates of the server."""
    templates = Path(rag.__file__).parent.rglob("*.j2")
    return "\n".join(file.read_text(encoding="utf-8") for file in (*python_files(), *templates))


def phrase_calls() -> Iterator[tuple[str, set[str]]]:
    """Yield the code and the names of the values of each call of `phrase` in the program."""
    for file in python_files():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or getattr(node.func, "id", "") != "phrase":
                continue
            names = {str(keyword.arg) for keyword in node.keywords}
            match node.args[0]:
                case ast.Constant(value=str(code)):
                    yield code, names
                case ast.Attribute(value=ast.Name(id=enum), attr=member):
                    codes = {each.__name__: each for each in CODE_ENUMS}[enum]
                    yield codes[member].value, names


def test_every_phrase_of_the_program_has_a_text_with_the_same_placeholders() -> None:
    calls = list(phrase_calls())
    assert {"question_empty", "no_evidence", "word_missing", "only_images"} <= {
        code for code, _ in calls
    }, "the calls are not found"
    for code, names in calls:
        assert names == placeholders(code), code


def test_every_text_that_is_used_exists(source: str) -> None:
    keys = {*KEY.findall(source), *(key for keys in EITHER_KEY.findall(source) for key in keys)}
    assert {"ask", "back", "thinking", "reading", "n_articles"} <= keys, "the patterns are wrong"
    assert (keys | KEYS_OF_ENUMS) - set(load_locales()["en"]) == set()


def test_every_text_is_used(source: str) -> None:
    quoted = set(re.findall(r"""["'](\w+)["']""", source))
    assert set(load_locales()["en"]) - quoted - KEYS_OF_ENUMS == {"language"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_the_keys_of_english_with_the_same_placeholders(language: str) -> None:
    english_locale, other = load_locales()["en"], load_locales()[language]
    assert other.keys() == english_locale.keys()
    for key in other:
        assert placeholders_of(other[key]) == placeholders_of(english_locale[key]), key
        assert isinstance(other[key], str) == isinstance(english_locale[key], str), key


@given(code=st.sampled_from(CODES), language=st.sampled_from(LANGUAGES), data=st.data())
def test_every_code_is_rendered_in_every_language_and_recognised(
    code: str, language: str, data: st.DataObject
) -> None:
    values: dict[str, Value] = {
        name: data.draw(st.integers(0, 10**9) if name == "n" else st.text() | st.integers(0))
        for name in placeholders(code)
    }
    texts = Texts(language)
    said = Phrase(code, values)
    rendered = said.text_in(texts)
    for value in values.values():
        assert (value if isinstance(value, str) else texts.number(value)) in rendered
    assert is_any_text(rendered, [code])
    assert decode_phrase(encode_phrase(said)) == said


@pytest.mark.parametrize(
    "code", sorted({*KEYS_OF_ENUMS, *(code for code, _ in phrase_calls())} - {"untranslated"})
)
def test_the_german_text_of_a_code_is_not_the_english_one(code: str) -> None:
    said = Phrase(code, dict.fromkeys(placeholders(code), 2))
    assert said.text_in(Texts("de")) != str(said)


@pytest.mark.parametrize(
    ("code", "values"), [("unheard_of", {}), ("question_empty", {"x": 1}), ("no_evidence", {})]
)
def test_a_phrase_without_a_text_or_with_other_values_cannot_exist(
    code: str, values: dict[str, Value]
) -> None:
    with pytest.raises(ValueError, match=code):
        Phrase(code, values)


def test_a_reason_that_an_earlier_version_has_stored_remains_as_it_is() -> None:
    assert str(decode_phrase("it contains no text")) == "it contains no text"
    assert str(decode_phrase('{"code": "unheard_of", "values": {}}')).startswith("{")


def test_a_quotation_has_the_quotation_marks_of_the_language_and_its_date_before_it() -> None:
    quotation = Sentence("Talks go on.", Verdict.SUPPORTED, quoted=True, date="2021-05-14")
    assert quotation.text_in(english()) == "2021-05-14: “Talks go on.”"
    assert quotation.text_in(Texts("de")) == "2021-05-14: „Talks go on.“"


@pytest.mark.parametrize(
    ("error", "german"),
    [
        (
            QuestionError(phrase("question_empty"), remedy=phrase("ask_something")),
            "Die Frage ist leer. Stell eine Frage.",
        ),
        (
            ModelError("The model is too large.", remedy="Choose another."),
            "Die Frage kann zurzeit nicht beantwortet werden. Einzelheiten stehen im Protokoll des"
            " Servers.",
        ),
    ],
)
def test_an_error_is_shown_in_the_language_of_the_reader(error: RagError, german: str) -> None:
    assert error.text_in(Texts("de")) == german
    assert error.text_in(english()) == str(error) == f"{error.problem} {error.remedy}"


@pytest.mark.parametrize(
    ("language", "count", "seconds"), [("en", "12,345", "1,234.5"), ("de", "12.345", "1.234,5")]
)
def test_numbers_are_written_as_in_the_language(language: str, count: str, seconds: str) -> None:
    texts = Texts(language)
    assert count in texts("n_articles", n=12_345)
    assert texts.number(1234.5, decimals=1) == seconds


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
