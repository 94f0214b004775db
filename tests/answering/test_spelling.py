"""Spelling correction by the words of the index."""

from collections.abc import Iterator, Sequence

import pytest
from fakes import FakeEncoder, SilentProgress

from rag.answering.spelling import correct_spelling
from rag.indexing.sync import sync
from rag.store.reader import IndexReader
from rag.types import Correction

TEXT = (
    "The lighthouse of Sant Oriol was renovated in May. Mayor Valls praised the earthquake drill."
)
KNOWN = frozenset("weather general".split())


def count_tokens(texts: Sequence[str]) -> list[int]:
    """Like an encoder that has only the words of `KNOWN` in its vocabulary."""
    return [1 if text.lower() in KNOWN else 3 for text in texts]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IndexReader]:
    source, folder = tmp_path_factory.mktemp("articles"), tmp_path_factory.mktemp("index")
    (source / "a.txt").write_text(TEXT)
    encoder = FakeEncoder()
    sync(folder, encoder, [source], rebuild=False, progress=SilentProgress())
    with IndexReader.open(folder, encoder=encoder.id) as reader:
        yield reader


@pytest.mark.parametrize(
    ("question", "corrected", "correction"),
    [
        ("How old is the lighthuose?", "How old is the lighthouse?", ("lighthuose", "lighthouse")),
        ("Was there an earthqauke?", "Was there an earthquake?", ("earthqauke", "earthquake")),
        ("Is there an eartquake?", "Is there an earthquake?", ("eartquake", "earthquake")),
    ],
)
def test_a_misspelt_word_is_replaced_by_a_word_of_the_articles(
    index: IndexReader, question: str, corrected: str, correction: tuple[str, str]
) -> None:
    assert correct_spelling(question, index, count_tokens) == (
        corrected,
        (Correction(*correction),),
    )


@pytest.mark.parametrize(
    "question",
    [
        "How old is the lighthouse of Sant Oriol?",
        "Was the lighthouse renovating?",
        "How is the weather?",
        "Who is Vals?",
        "What of Zanzibar?",
        "1234567 § 😀?",
        "",
    ],
    ids=[
        "words of the articles",
        "another form of one",
        "a word that the encoder knows",
        "a short word",
        "like no word",
        "no words",
        "empty",
    ],
)
def test_other_words_stay(index: IndexReader, question: str) -> None:
    assert correct_spelling(question, index, count_tokens) == (question, ())
