"""Finding the passage, and the sentence in it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.chatbot import Chatbot
from rag.datatypes import Excerpt, Hit, StandaloneQuestion
from rag.encoder import Encoder
from rag.evidence import weigh
from rag.index import PassageIndex
from rag.indexing import sync
from rag.language import phrases
from rag.retriever import DENSE, Retriever, _spread, fuse

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
    question = StandaloneQuestion("Which bird came back to the marsh?")
    _, hits = chatbot.search(question.text, (), 10)
    evidence = weigh(question, hits, chatbot.encoder, chatbot.index.rarity)
    for excerpt in [hit.passage for hit in hits] + [found.sentence for found in evidence]:
        article = chatbot.index.article(excerpt.article_id)
        assert article is not None
        assert article.text[excerpt.start : excerpt.end] == excerpt.text
    assert "avocet" in evidence[0].sentence.text.lower()


def test_a_sentence_shared_by_two_passages_is_evidence_once(chatbot: Chatbot) -> None:
    question = StandaloneQuestion("Which bird came back to the marsh?")
    _, hits = chatbot.search(question.text, (), 1)
    once = weigh(question, hits, chatbot.encoder, chatbot.index.rarity)
    twice = weigh(
        question, [*hits, replace(hits[0], rank=2)], chatbot.encoder, chatbot.index.rarity
    )
    assert twice == once


def test_the_words_of_a_question_cannot_break_the_search(chatbot: Chatbot) -> None:
    for question in ['"', "NEAR(a b)", "a AND OR NOT", "title:x*", "-", "(((", "'; DROP TABLE"]:
        assert chatbot.search(question, (), 1)[1]


def test_fusion_takes_cosines_as_they_are_and_words_against_the_best_of_them() -> None:
    fused = fuse({1: 0.9, 2: 0.5, 3: -0.1}, {2: 8.0, 4: 4.0})
    words = 1 - DENSE
    assert fused == pytest.approx({1: DENSE * 0.9, 2: DENSE * 0.5 + words, 3: 0.0, 4: words / 2})


def test_what_the_vectors_did_not_find_is_as_near_as_the_last_that_they_did() -> None:
    assert fuse({1: 0.9, 2: 0.4}, {3: 1.0})[3] == pytest.approx(DENSE * 0.4 + 1 - DENSE)


def test_fusion_of_nothing_is_nothing() -> None:
    assert fuse({}, {}) == {}


@given(
    st.dictionaries(st.integers(0, 9), st.floats(-1, 1), max_size=6),
    st.dictionaries(st.integers(0, 9), st.floats(0, 50), max_size=6),
)
def test_fused_scores_lie_between_0_and_1_for_all_that_was_found(
    dense: dict[int, float], lexical: dict[int, float]
) -> None:
    fused = fuse(dense, lexical)
    assert fused.keys() == dense.keys() | lexical.keys()
    assert all(0 <= score <= 1 + 1e-9 for score in fused.values())


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
            return retriever, retriever.retrieve(StandaloneQuestion(question), 5)

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
    found = {
        e.sentence.text: e.sentence
        for e in weigh(
            StandaloneQuestion(question), hits, retriever.encoder, retriever.index.rarity
        )
    }
    (crew,) = found["Its crew of 14 was taken off by helicopter."].also
    texts = {"a.txt": WIRE, "b.txt": AGAIN}
    assert texts[crew.article_id][crew.start : crew.end] == crew.text
    assert crew.text == "Its crew of 14 was taken off by helicopter."
    assert all(not s.also for text, s in found.items() if "oil" in text)


# -- k passages bring k things


def found(article: str, at: int, score: float) -> tuple[Excerpt, float]:
    return Excerpt(article_id=article, title=article, start=at, end=at + 1, text="x"), score


def test_the_passages_of_one_article_do_not_crowd_out_anothers() -> None:
    spread = _spread(
        [found("a", 0, 0.9), found("a", 5, 0.89), found("a", 9, 0.5), found("b", 0, 0.85)]
    )
    assert [passage.article_id for passage, _ in spread] == ["a", "b", "a", "a"]
    assert [score for _, score in spread] == sorted((score for _, score in spread), reverse=True)


def test_a_passage_that_is_far_better_stays_before_anothers() -> None:
    spread = _spread([found("a", 0, 0.9), found("a", 5, 0.89), found("b", 0, 0.4)])
    assert [passage.article_id for passage, _ in spread] == ["a", "a", "b"]


# -- names, numbers, dates, quoted words


STORY = """---
title: Council of Brannock votes on the weir
date: 2023-05-09
source: Lowland Gazette
---
Provost Ailsa Reekie put the vote off by 17 days. The gene p53 was named in a letter to her. The 5G mast
stays where it is.
"""
OTHERS = {
    "mast.txt": "A mast fell over in the storm. The provost of another town was in it.",
    "gene.txt": "A gene is a stretch of heredity. Letters were sent about 53 of them.",
    "days.txt": "There are many days in May. In 2023 it rained on most of them, on the 9th not.",
}


@pytest.mark.parametrize(
    "question",
    [
        pytest.param("council of brannock weir", id="its title"),
        pytest.param("What was in the news on 9 May 2023?", id="its date in words"),
        pytest.param("What happened on 2023-05-09?", id="its date in figures"),
        pytest.param("What does the Lowland Gazette write?", id="its source"),
        pytest.param("What did Ailsa Reekie do?", id="a name in it"),
        pytest.param("What takes 17 days?", id="a number in it"),
        pytest.param("Who was written to about p53?", id="letters and figures in one"),
        pytest.param("Where does the 5g mast stay?", id="figures and letters in one"),
        pytest.param('Which mast "stays where it is"?', id="quoted words"),
    ],
)
def test_an_article_indexed_just_now_is_found_by(search: Search, question: str) -> None:
    _, hits = search({**OTHERS, "weir.md": STORY}, question)
    assert hits[0].passage.article_id == "weir.md"


def test_words_in_quotation_marks_must_stand_there(search: Search) -> None:
    articles = {**OTHERS, "weir.md": STORY}
    retriever, hits = search(articles, "Which provost was “of another town”?")
    assert [hit.passage.article_id for hit in hits] == ["mast.txt"]
    assert retriever.retrieve(StandaloneQuestion('The provost of "no such town"?'), 5) == []


def test_a_conversation_leads_to_its_subject_and_the_question_stays_the_first_thing(
    search: Search,
) -> None:
    articles = {
        "a.txt": "The treaty of Osk expires in 2031. Its seat is Varna.",
        "b.txt": "The treaty of Lund expires in 2044. Its seat is Bergen.",
        "c.txt": "The lighthouse of Ketch is 40 metres high.",
    }
    retriever, _ = search(articles, "treaty")
    found = retriever.retrieve(StandaloneQuestion("And when does it expire?", ("Lund",)), 3)
    assert found[0].passage.article_id == "b.txt"
    other = retriever.retrieve(StandaloneQuestion("How high is the lighthouse?", ("Lund",)), 3)
    assert other[0].passage.article_id == "c.txt"


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
