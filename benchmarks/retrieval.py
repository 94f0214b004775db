"""Retrieval methods compared: `python benchmarks/retrieval.py SET… [--half tuned|other]`.

Ranks the articles for each dataset's answerable questions with several methods, and prints nDCG@10 per
method and dataset, over one split of the questions. Datasets with conversations (`history`) are used
with and without it, and their recall@5 is printed as well.
"""

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from zlib import crc32

from common import Row, build_dataset_index, rows, table
from ir_measures import ScoredDoc, calc_aggregate, nDCG, parse_measure

from rag.answering import followup
from rag.answering.retriever import Retriever, Scores, fuse
from rag.models.embedding.encoder import Encoder
from rag.models.resolve import MINILM, encoder_folder
from rag.settings import Settings
from rag.store.reader import IndexReader
from rag.types import Message, SearchQuery

CANDIDATES = 400
TOP_K = 50
RANK_OFFSET = 60
"""Of reciprocal rank fusion (Cormack et al. 2009)."""

Fusion = Callable[[Scores, Scores], Scores]
Run = dict[str, float]
"""Scores by article id."""
Method = Callable[[Retriever, SearchQuery], Run]


def main(sets: Sequence[Path], split: str) -> None:
    lines: dict[str, list[str]] = {}
    for data in sets:
        questions = [row for row in rows(data / "questions.jsonl") if in_split(row, split)]
        index = IndexReader.open(build_dataset_index(data))
        encoder = Encoder(MINILM.name, encoder_folder(MINILM.name, Settings().cache))
        for name, runs in rank_all(Retriever(index, encoder), questions, METHODS).items():
            lines.setdefault(name, []).append(score(questions, runs))
    print(
        table(
            ["method", *(data.name for data in sets)],
            [[name, *cells] for name, cells in lines.items()],
        )
    )


def in_split(row: Row, split: str) -> bool:
    """Return whether a question is answerable and in a split: the one used for tuning, or the other."""
    if row.get("unanswerable") or not row.get("article_ids"):
        return False
    return (crc32(str(row["id"]).encode()) % 2 == 0) == (split == "tuned")


def rank_all(
    retriever: Retriever, questions: Sequence[Row], names: Iterable[str]
) -> dict[str, list[Run]]:
    """Return the runs of each method, one per question."""
    queries = [contextualize(retriever, row) for row in questions]
    return {name: [METHODS[name](retriever, query) for query in queries] for name in names}


def contextualize(retriever: Retriever, row: Row) -> SearchQuery:
    history = [
        Message(
            role=turn.get("role", "user"), content=turn.get("content") or turn.get("text") or ""
        )
        for turn in row.get("history") or []
    ]
    return followup.contextualize(row["question"], history, retriever.index.idf)


def footnote(retriever: Retriever, question: SearchQuery) -> Run:
    run: Run = {}
    for hit in retriever.retrieve(question, TOP_K):
        for excerpt in (hit.passage, *hit.passage.duplicates):
            run.setdefault(excerpt.article_id, hit.score)
    return run


def without_history(retriever: Retriever, question: SearchQuery) -> Run:
    return footnote(retriever, SearchQuery(question.question))


def rank_by_fusion(fusion: Fusion) -> Method:
    """Return a method that ranks articles by the best fused score of their passages."""

    def rank(retriever: Retriever, question: SearchQuery) -> Run:
        scores = fusion(*retriever.candidates(question, CANDIDATES))
        best = sorted(scores, key=lambda number: -scores[number])[:TOP_K]
        run: Run = {}
        for number, passage in zip(best, retriever.index.passages(best), strict=True):
            run.setdefault(passage.article_id, scores[number])
        return run

    return rank


def dense_only(dense: Scores, lexical: Scores) -> Scores:
    return dense


def lexical_only(dense: Scores, lexical: Scores) -> Scores:
    return lexical


def reciprocal_rank(dense: Scores, lexical: Scores) -> Scores:
    fused: Scores = {}
    for scores in (dense, lexical):
        for rank, number in enumerate(sorted(scores, key=lambda n: -scores[n]), start=1):
            fused[number] = fused.get(number, 0.0) + 1 / (RANK_OFFSET + rank)
    return fused


FOOTNOTE = "Footnote: the same, without near-duplicates"
METHODS: dict[str, Method] = {
    "dense only": rank_by_fusion(dense_only),
    "lexical only": rank_by_fusion(lexical_only),
    "both, by reciprocal rank fusion": rank_by_fusion(reciprocal_rank),
    "both, by scaled scores": rank_by_fusion(fuse),
    FOOTNOTE: footnote,
    "Footnote, without history": without_history,
}


def score(questions: Sequence[Row], runs: Sequence[Run]) -> str:
    qrels = {
        str(number): row.get("qrels") or dict.fromkeys(row["article_ids"], 1)
        for number, row in enumerate(questions)
    }
    scored_docs = [
        ScoredDoc(str(number), article_id, score)
        for number, run in enumerate(runs)
        for article_id, score in run.items()
    ]
    measures = [
        nDCG @ 10,
        *([parse_measure("R@5")] if any(row.get("history") for row in questions) else []),
    ]
    values = calc_aggregate(measures, qrels, scored_docs)
    return " / ".join(f"{values[measure]:.3f}" for measure in measures)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="+", type=Path)
    parser.add_argument("--half", choices=["tuned", "other"], default="other")
    arguments = parser.parse_args()
    main(arguments.sets, arguments.half)
