"""Finding the passage, and the sentence in it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rag.chatbot import Chatbot
from rag.datatypes import Hit
from rag.encoder import Encoder
from rag.index import PassageIndex
from rag.indexing import sync
from rag.language import phrases
from rag.retriever import Retriever, _fuse

if TYPE_CHECKING:
    from conftest import Quiet


@pytest.mark.parametrize(
    ("question", "article"),
    [
        pytest.param("How high is the lighthouse of Sant Oriol?", "lighthouse.md", id="by name"),
        pytest.param("What did the 37 metre tower cost?", "lighthouse.md", id="by number"),
        pytest.param("Which bird came back to the marsh?", "marsh.md", id="by subject"),
        pytest.param("avocets returning to wetland", "marsh.md", id="by other words"),
    ],
)
def test_the_article_that_answers_comes_first(
    chatbot: Chatbot, question: str, article: str
) -> None:
    _, hits = chatbot.search(question, (), 3)
    assert hits[0].passage.article_id == article


def test_ranks_count_from_one_and_scores_fall(chatbot: Chatbot) -> None:
    _, hits = chatbot.search("What did the harbour cost?", (), 3)
    assert [hit.rank for hit in hits] == [1, 2, 3]
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_hits_and_evidence_stand_exactly_in_their_articles(chatbot: Chatbot) -> None:
    question = "Which bird came back to the marsh?"
    _, hits = chatbot.search(question, (), 10)
    evidence = chatbot._retriever.evidence(question, hits)
    for excerpt in [hit.passage for hit in hits] + [found.sentence for found in evidence]:
        article = chatbot.index.article(excerpt.article_id)
        assert article is not None
        assert article.text[excerpt.start : excerpt.end] == excerpt.text
    assert "avocet" in evidence[0].sentence.text.lower()


def test_a_sentence_shared_by_two_passages_is_evidence_once(chatbot: Chatbot) -> None:
    question = "Which bird came back to the marsh?"
    _, hits = chatbot.search(question, (), 1)
    once = chatbot._retriever.evidence(question, hits)
    twice = chatbot._retriever.evidence(question, [*hits, replace(hits[0], rank=2)])
    assert twice == once


def test_the_words_of_a_question_cannot_break_the_search(chatbot: Chatbot) -> None:
    for question in ['"', "NEAR(a b)", "a AND OR NOT", "title:x*", "-", "(((", "'; DROP TABLE"]:
        assert chatbot.search(question, (), 1)[1]


def test_fusion_weighs_both_searches_alike() -> None:
    fused = _fuse({1: 0.9, 2: 0.5, 3: 0.1}, {2: 8.0, 4: 4.0})
    assert fused == pytest.approx({1: 0.5, 2: 0.75, 3: 0.0, 4: 0.25})


def test_fusion_of_nothing_is_nothing() -> None:
    assert _fuse({}, {}) == {}


# -- the same told in several articles


WIRE = (
    "A freighter ran aground off Cape Morrow on Tuesday night. Its crew of 14 was taken off by"
    " helicopter. The freighter was carrying timber from Kalmar to Leith, the coast guard said."
    " No oil has leaked so far."
)
AGAIN = WIRE.replace("Tuesday night", "Tuesday").replace("so far", "until now")
OTHER = AGAIN.replace("crew of 14", "crew of 17")


Search = Callable[[dict[str, str], str], tuple[Retriever, list[Hit]]]


@pytest.fixture
def search(tmp_path: Path, encoder: Encoder, quiet: "Quiet") -> Iterator[Search]:
    """Indexes articles with the real encoder, and asks."""
    with ExitStack() as opened:

        def find(articles: dict[str, str], question: str) -> tuple[Retriever, list[Hit]]:
            source = tmp_path / "source"
            source.mkdir()
            for name, text in articles.items():
                (source / name).write_text(text, encoding="utf-8")
            sync(tmp_path / "index", encoder, [source], rebuild=False, progress=quiet)
            index = opened.enter_context(PassageIndex.open(tmp_path / "index"))
            retriever = Retriever(index, encoder)
            return retriever, retriever.retrieve(question, 5)

        yield find


def ids(hits: Sequence[Hit]) -> list[list[str]]:
    return [
        [hit.passage.article_id, *(twin.article_id for twin in hit.passage.also)] for hit in hits
    ]


def test_a_wire_story_in_two_articles_is_one_hit_that_names_both(search: Search) -> None:
    articles = {"a.txt": WIRE, "b.txt": WIRE, "c.txt": AGAIN, "d.txt": "Timber is getting dearer."}
    _, hits = search(articles, "How large was the crew of the freighter?")
    assert sorted(map(sorted, ids(hits))) == [["a.txt", "b.txt", "c.txt"], ["d.txt"]]


def test_another_figure_makes_another_hit(search: Search) -> None:
    _, hits = search({"a.txt": WIRE, "b.txt": OTHER}, "How large was the crew of the freighter?")
    assert sorted(ids(hits)) == [["a.txt"], ["b.txt"]]


def test_a_quoted_sentence_names_where_else_it_stands_and_only_there(search: Search) -> None:
    question = "Has oil leaked from the freighter?"
    retriever, hits = search({"a.txt": WIRE, "b.txt": AGAIN}, question)
    found = {e.sentence.text: e.sentence for e in retriever.evidence(question, hits)}
    (crew,) = found["Its crew of 14 was taken off by helicopter."].also
    texts = {"a.txt": WIRE, "b.txt": AGAIN}
    assert texts[crew.article_id][crew.start : crew.end] == crew.text
    assert crew.text == "Its crew of 14 was taken off by helicopter."
    assert all(not s.also for text, s in found.items() if "oil" in text)


# -- any script


@pytest.mark.parametrize(
    ("text", "question"),
    [
        pytest.param("Die Brücke über die Lünne ist gesperrt.", "brücke lünne", id="German"),
        pytest.param("Die Straße ist gesperrt.", "STRASSE", id="German sharp s"),
        pytest.param("أُعيد افتتاح الجِسر القديم يوم الأحد.", "الجسر", id="Arabic"),
        pytest.param("港口的新桥长四百米，周日通车。", "新桥有多长？", id="Chinese"),
        pytest.param("港の橋は日曜日に開通した。", "橋はいつ開通しましたか", id="Japanese"),
        pytest.param("สะพานใหม่เปิดในวันอาทิตย์", "สะพานใหม่", id="Thai"),
        pytest.param("पुराना पुल रविवार को खुला।", "पुल", id="Hindi"),
        pytest.param("Старый мост открыли в воскресенье.", "МОСТ", id="Russian"),
    ],
)
def test_words_are_found_in_any_script(search: Search, text: str, question: str) -> None:
    """The words alone, without vectors: most encoders know few scripts."""
    others = ["A ferry sank.", "船が沈んだ。", "渡轮沉没了。", "غرقت العبّارة.", "Паром затонул."]
    articles = {f"{number}.txt": other for number, other in enumerate(others)}
    retriever, _ = search({**articles, "right.txt": text}, question)
    matched = retriever.index.matching(phrases(question), 10)
    (best, *_) = retriever.index.passages(matched)
    assert best.article_id == "right.txt"
    assert best.text == text
