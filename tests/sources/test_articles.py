"""Articles built from what the readers return: exact text, default titles."""

import codecs
import csv
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from source_files import (
    NEWS,
    read_article,
    read_source,
    write_file,
    write_jsonl,
)

from rag.types import Article

TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1
).filter(str.strip)


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=4))
def test_every_format_keeps_text_exactly(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("exact")
    write_jsonl(folder, *({"text": text} for text in texts))
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["text"], *([text] for text in texts)])
    for number, text in enumerate(texts):
        write_file(folder, f"utf8-{number}.txt", "\ufeff" + text)
        write_file(folder, f"utf16-{number}.txt", codecs.BOM_UTF16_BE + text.encode("utf-16-be"))
    by_id = {
        result.id: result.text for result in read_source(folder) if isinstance(result, Article)
    }
    for number, text in enumerate(texts):
        assert by_id[f"rows.jsonl#{number + 1}"] == text
        assert by_id[f"table.csv#{number + 1}"] == text
        assert by_id[f"utf8-{number}.txt"] == text
        assert by_id[f"utf16-{number}.txt"] == text


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"  {NEWS}\n\n ", id="spaces around"),
        pytest.param("one\r\ntwo\rthree\n", id="every line end"),
        pytest.param("Cafe\u0301 A\u030a", id="NFD"),
        pytest.param("Café Å", id="NFC"),
        pytest.param("\u2028\u0085\ufeff x \u200d \U0001f469", id="separators and joiners"),
    ],
)
def test_white_space_and_unicode_forms_are_kept(tmp_path: Path, text: str) -> None:
    assert read_article(write_file(tmp_path, "a.txt", text)).text == text
    assert read_article(write_jsonl(tmp_path, {"text": text})).text == text


def test_the_default_title_is_the_first_words(tmp_path: Path) -> None:
    text = "the  harbour\nboard " + "said again that it would not agree " * 10
    title = read_article(write_file(tmp_path, "a.txt", text)).title
    assert title.startswith("the harbour board said again")
    assert title.endswith(" …")
    assert len(title) <= 82
    assert text.replace("  ", " ").replace("\n", " ").startswith(title.removesuffix(" …") + " ")


def test_an_unpaired_surrogate_in_a_title_becomes_a_question_mark(tmp_path: Path) -> None:
    path = write_file(tmp_path, "r.jsonl", '{"title": "a\\ud83d", "text": "b"}')
    assert read_article(path).title == "a?"
