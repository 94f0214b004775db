"""What each part of searching gives: `python benchmarks/retrieval.py SET… [--half tuned|other]`.

Ranks the articles of each set's answerable questions in several ways, and prints nDCG@10 a way and
set, over one half of the questions. Sets with conversations (`history`)
are asked with and without them, and their recall@5 is printed as well.
"""

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from zlib import crc32

from common import Row, indexed, rows, table
from ir_measures import ScoredDoc, calc_aggregate, nDCG, parse_measure

from rag import conversation, retriever
from rag.datatypes import Message, StandaloneQuestion
from rag.encoder import Encoder
from rag.index import PassageIndex
from rag.models import MINILM, encoder_folder
from rag.retriever import Retriever, Scores
from rag.settings import Settings

MOST = 400
K = 50
RANK_OFFSET = 60
"""Of reciprocal rank fusion (Cormack et al. 2009)."""

Fusion = Callable[[Scores, Scores], Scores]
Run = dict[str, float]
"""Article ids → scores."""
Way = Callable[[Retriever, StandaloneQuestion], Run]


def main(sets: Sequence[Path], half: str) -> None:
    lines: dict[str, list[str]] = {}
    for data in sets:
        asked = [row for row in rows(data / "questions.jsonl") if of_half(row, half)]
        index = PassageIndex.open(indexed(data))
        encoder = Encoder(MINILM.name, encoder_folder(MINILM.name, Settings().cache))
        for way, runs in ranked(Retriever(index, encoder), asked, WAYS).items():
            lines.setdefault(way, []).append(score(asked, runs))
    print(table(["way", *(data.name for data in sets)], [[way, *s] for way, s in lines.items()]))


def of_half(row: Row, half: str) -> bool:
    """Whether a question is answerable and of the half on which things were tuned, or of the other."""
    if row.get("unanswerable") or not row.get("article_ids"):
        return False
    return (crc32(str(row["id"]).encode()) % 2 == 0) == (half == "tuned")


def ranked(search: Retriever, asked: Sequence[Row], ways: Iterable[str]) -> dict[str, list[Run]]:
    """Way → article ids with scores, a question each."""
    questions = [standalone(search, row) for row in asked]
    return {way: [WAYS[way](search, question) for question in questions] for way in ways}


def standalone(search: Retriever, row: Row) -> StandaloneQuestion:
    history = [
        Message(
            role=turn.get("role", "user"), content=turn.get("content") or turn.get("text") or ""
        )
        for turn in row.get("history") or []
    ]
    return conversation.standalone(row["question"], history, search.index.rarity)


def footnote(search: Retriever, question: StandaloneQuestion) -> Run:
    run: Run = {}
    for hit in search.retrieve(question, K):
        for place in (hit.passage, *hit.passage.also):
            run.setdefault(place.article_id, hit.score)
    return run


def without_the_conversation(search: Retriever, question: StandaloneQuestion) -> Run:
    return footnote(search, StandaloneQuestion(question.asked))


def by(fusion: Fusion) -> Way:
    """The articles of the best passages of a fusion, each with its best one's score."""

    def way(search: Retriever, question: StandaloneQuestion) -> Run:
        scores = fusion(*search.candidates(question, MOST))
        best = sorted(scores, key=lambda number: -scores[number])[:K]
        run: Run = {}
        for number, passage in zip(best, search.index.passages(best), strict=True):
            run.setdefault(passage.article_id, scores[number])
        return run

    return way


def dense_alone(dense: Scores, lexical: Scores) -> Scores:
    return dense


def lexical_alone(dense: Scores, lexical: Scores) -> Scores:
    return lexical


def reciprocal_rank(dense: Scores, lexical: Scores) -> Scores:
    fused: Scores = {}
    for scores in (dense, lexical):
        for rank, number in enumerate(sorted(scores, key=lambda n: -scores[n]), start=1):
            fused[number] = fused.get(number, 0.0) + 1 / (RANK_OFFSET + rank)
    return fused


FOOTNOTE = "Footnote: the same, k passages of k things"
WAYS: dict[str, Way] = {
    "vectors alone": by(dense_alone),
    "words alone": by(lexical_alone),
    "both, by reciprocal rank": by(reciprocal_rank),
    "both, by scaled scores": by(retriever.fuse),
    FOOTNOTE: footnote,
    "Footnote, the last question alone": without_the_conversation,
}


def score(asked: Sequence[Row], runs: Sequence[Run]) -> str:
    golds = {
        str(at): row.get("qrels") or dict.fromkeys(row["article_ids"], 1)
        for at, row in enumerate(asked)
    }
    scored = [ScoredDoc(str(at), id, s) for at, run in enumerate(runs) for id, s in run.items()]
    measures = [
        nDCG @ 10,
        *([parse_measure("R@5")] if any(r.get("history") for r in asked) else []),
    ]
    found = calc_aggregate(measures, golds, scored)
    return " / ".join(f"{found[measure]:.3f}" for measure in measures)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="+", type=Path)
    parser.add_argument("--half", choices=["tuned", "other"], default="other")
    arguments = parser.parse_args()
    main(arguments.sets, arguments.half)
