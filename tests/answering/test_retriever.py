"""Retrieval: hybrid search, fusion, near-duplicates, diversification."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import SilentProgress
from hypothesis import given
from hypothesis import strategies as st

from rag.answering.chatbot import Chatbot
from rag.answering.evidence import find_evidence
from rag.answering.fusion import DENSE_WEIGHT, diversify, fuse
from rag.answering.retriever import Retriever
from rag.indexing.sync import sync
from rag.models.embedding.encoder import Encoder
from rag.models.reading.reader import Reader
from rag.store.reader import IndexReader
from rag.text.tokens import phrases
from rag.types import Excerpt, Hit, SearchQuery


@pytest.mark.parametrize(
    ("question", "article"),
    [
        pytest.param("How high is the lighthouse of Sant Oriol?", "lighthouse.md", id="by name"),
        pytest.param("What did the 37 metre tower cost?", "lighthouse.md", id="by number"),
        pytest.param("Which bird came back to the marsh?", "marsh.md", id="by subject"),
        pytest.param("avocets returning to wetland", "marsh.md", id="by paraphrase"),
    ],
)
def test_the_article_that_answers_is_the_first_hit(
    chatbot: Chatbot, question: str, article: str
) -> None:
    _, hits = chatbot.search(question, limit=3)
    assert hits[0].passage.article_id == article


def test_ranks_count_from_one_and_scores_decrease(chatbot: Chatbot) -> None:
    _, hits = chatbot.search("What did the harbour cost?", limit=3)
    assert [hit.rank for hit in hits] == [1, 2, 3]
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_hits_and_evidence_are_verbatim_parts_of_their_articles(
    chatbot: Chatbot, reader: Reader
) -> None:
    query = SearchQuery("Which bird came back to the marsh?")
    _, hits = chatbot.search(query.question, limit=10)
    evidence = find_evidence(query, hits, reader, chatbot.index.idf)
    for excerpt in [hit.passage for hit in hits] + [item.sentence for item in evidence]:
        article = chatbot.index.article(excerpt.article_id)
        assert article is not None
        assert article.text[excerpt.start : excerpt.end] == excerpt.text
    assert "avocet" in evidence[0].sentence.text.lower()


def test_a_sentence_in_two_passages_is_scored_once(chatbot: Chatbot, reader: Reader) -> None:
    query = SearchQuery("Which bird came back to the marsh?")
    _, hits = chatbot.search(query.question, limit=1)
    once = find_evidence(query, hits, reader, chatbot.index.idf)
    twice = find_evidence(query, [*hits, replace(hits[0], rank=2)], reader, chatbot.index.idf)
    assert twice == once


def test_query_syntax_in_a_question_is_harmless(chatbot: Chatbot) -> None:
    for question in ['"', "NEAR(a b)", "a AND OR NOT", "title:x*", "-", "(((", "'; DROP TABLE"]:
        assert chatbot.search(question, limit=1)[1]


def test_fusion_uses_cosines_unscaled_and_bm25_relative_to_the_best() -> None:
    fused = fuse({1: 0.9, 2: 0.5, 3: -0.1}, {2: 8.0, 4: 4.0})
    lexical_weight = 1 - DENSE_WEIGHT
    assert fused == pytest.approx(
        {
            1: DENSE_WEIGHT * 0.9,
            2: DENSE_WEIGHT * 0.5 + lexical_weight,
            3: 0.0,
            4: lexical_weight / 2,
        }
    )


def test_a_passage_missing_from_dense_search_gets_the_lowest_cosine() -> None:
    assert fuse({1: 0.9, 2: 0.4}, {3: 1.0})[3] == pytest.approx(
        DENSE_WEIGHT * 0.4 + 1 - DENSE_WEIGHT
    )


def test_fusion_of_no_scores_is_empty() -> None:
    assert fuse({}, {}) == {}


@given(
    st.dictionaries(st.integers(0, 9), st.floats(-1, 1), max_size=6),
    st.dictionaries(st.integers(0, 9), st.floats(0, 50), max_size=6),
)
def test_fused_scores_of_all_passages_are_between_0_and_1(
    dense: dict[int, float], lexical: dict[int, float]
) -> None:
    fused = fuse(dense, lexical)
    assert fused.keys() == dense.keys() | lexical.keys()
    assert all(0 <= score <= 1 + 1e-9 for score in fused.values())


# -- near-duplicates


WIRE = (
    "A freighter ran aground off Cape Morrow on Tuesday night. Its crew of 14 was taken off by"
    " helicopter. The freighter was carrying timber from Kalmar to Leith, the coast guard said."
    " No oil has leaked so far."
)
REWORDED = WIRE.replace("Tuesday night", "Tuesday").replace("so far", "until now")
OTHER_FIGURE = REWORDED.replace("crew of 14", "crew of 17")


Search = Callable[[dict[str, str], str], tuple[Retriever, list[Hit]]]


@pytest.fixture
def search(tmp_path: Path, encoder: Encoder) -> Iterator[Search]:
    """A function that indexes articles with the real encoder and searches them."""
    with ExitStack() as indexes:

        def index_and_search(
            articles: dict[str, str], question: str
        ) -> tuple[Retriever, list[Hit]]:
            source = tmp_path / "source"
            source.mkdir()
            for name, text in articles.items():
                (source / name).write_text(text, encoding="utf-8")
            sync(tmp_path / "index", encoder, [source], rebuild=False, progress=SilentProgress())
            index = indexes.enter_context(IndexReader.open(tmp_path / "index"))
            retriever = Retriever(index, encoder)
            return retriever, retriever.retrieve(SearchQuery(question), 5)

        yield index_and_search


def ids(hits: Sequence[Hit]) -> list[list[str]]:
    return [
        [hit.passage.article_id, *(excerpt.article_id for excerpt in hit.passage.duplicates)]
        for hit in hits
    ]


def test_near_duplicates_are_merged_into_one_hit(search: Search) -> None:
    articles = {
        "a.txt": WIRE,
        "b.txt": WIRE,
        "c.txt": REWORDED,
        "d.txt": "Timber is getting dearer.",
    }
    _, hits = search(articles, "How large was the crew of the freighter?")
    assert sorted(map(sorted, ids(hits))) == [["a.txt", "b.txt", "c.txt"], ["d.txt"]]


def test_passages_that_differ_in_a_figure_are_not_merged(search: Search) -> None:
    _, hits = search(
        {"a.txt": WIRE, "b.txt": OTHER_FIGURE}, "How large was the crew of the freighter?"
    )
    assert sorted(ids(hits)) == [["a.txt"], ["b.txt"]]


def test_a_sentence_lists_only_the_duplicates_that_contain_it(
    search: Search, reader: Reader
) -> None:
    question = "Has oil leaked from the freighter?"
    retriever, hits = search({"a.txt": WIRE, "b.txt": REWORDED}, question)
    evidence = find_evidence(SearchQuery(question), hits, reader, retriever.index.idf)
    sentences = {item.sentence.text: item.sentence for item in evidence}
    (crew,) = sentences["Its crew of 14 was taken off by helicopter."].duplicates
    texts = {"a.txt": WIRE, "b.txt": REWORDED}
    assert texts[crew.article_id][crew.start : crew.end] == crew.text
    assert crew.text == "Its crew of 14 was taken off by helicopter."
    assert all(not s.duplicates for text, s in sentences.items() if "oil" in text)


# -- diversification


def scored(article: str, start: int, score: float) -> tuple[Excerpt, float]:
    return Excerpt(article_id=article, title=article, start=start, end=start + 1, text="x"), score


def test_further_passages_of_an_article_rank_below_those_of_others() -> None:
    diversified = diversify(
        [scored("a", 0, 0.9), scored("a", 5, 0.89), scored("a", 9, 0.5), scored("b", 0, 0.85)]
    )
    assert [passage.article_id for passage, _ in diversified] == ["a", "b", "a", "a"]
    assert [score for _, score in diversified] == sorted(
        (score for _, score in diversified), reverse=True
    )


def test_a_much_better_passage_of_the_same_article_keeps_its_rank() -> None:
    diversified = diversify([scored("a", 0, 0.9), scored("a", 5, 0.89), scored("b", 0, 0.4)])
    assert [passage.article_id for passage, _ in diversified] == ["a", "a", "b"]


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
def test_an_article_is_found_by(search: Search, question: str) -> None:
    _, hits = search({**OTHERS, "weir.md": STORY}, question)
    assert hits[0].passage.article_id == "weir.md"


def test_hits_contain_the_quoted_phrases(search: Search) -> None:
    articles = {**OTHERS, "weir.md": STORY}
    retriever, hits = search(articles, "Which provost was “of another town”?")
    assert [hit.passage.article_id for hit in hits] == ["mast.txt"]
    assert retriever.retrieve(SearchQuery('The provost of "no such town"?'), 5) == []


def test_context_terms_influence_the_ranking_less_than_the_question(
    search: Search,
) -> None:
    articles = {
        "a.txt": "The treaty of Osk expires in 2031. Its seat is Varna.",
        "b.txt": "The treaty of Lund expires in 2044. Its seat is Bergen.",
        "c.txt": "The lighthouse of Ketch is 40 metres high.",
    }
    retriever, _ = search(articles, "treaty")
    follow_up = retriever.retrieve(SearchQuery("And when does it expire?", ("Lund",)), 3)
    assert follow_up[0].passage.article_id == "b.txt"
    standalone = retriever.retrieve(SearchQuery("How high is the lighthouse?", ("Lund",)), 3)
    assert standalone[0].passage.article_id == "c.txt"


# -- scripts


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
def test_keyword_search_finds_words_in_any_script(search: Search, text: str, question: str) -> None:
    """Without dense search, since most encoders know few scripts."""
    others = ["A ferry sank.", "船が沈んだ。", "渡轮沉没了。", "غرقت العبّارة.", "Паром затонул."]
    articles = {f"{number}.txt": other for number, other in enumerate(others)}
    retriever, _ = search({**articles, "right.txt": text}, question)
    numbers = retriever.index.keyword_search(phrases(question), 10)
    (best, *_) = retriever.index.passages(numbers)
    assert best.article_id == "right.txt"
    assert best.text == text
