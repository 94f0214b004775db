"""Reranking with a real CrossEncoder: the embedded encoder with a randomly initialised head."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from rag.answering.chatbot import Chatbot
from rag.answering.fusion import rerank
from rag.answering.retriever import Retriever
from rag.errors import ModelError
from rag.models.reranker import BATCH_SIZE, Reranker
from rag.models.resolve import MINILM, cross_encoder_folder, encoder_folder
from rag.types import Excerpt, ModelRole, SearchQuery


def save_cross_encoder(folder: Path, cache: Path, labels: int) -> Path:
    """Save a CrossEncoder with a random head, whose scores are meaningless."""
    base = encoder_folder(MINILM.name, cache)
    torch.manual_seed(1)
    config = AutoConfig.from_pretrained(base, num_labels=labels, local_files_only=True)
    # transformers declares no types for it.
    from_config: Callable[..., Any] = AutoModelForSequenceClassification.from_config
    model = from_config(config)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base, local_files_only=True).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    return save_cross_encoder(tmp_path_factory.mktemp("reranker"), cache, labels=1)


PASSAGES = [f"The tower of town number {n} is {n} metres high." for n in range(3 * BATCH_SIZE)]


def test_every_passage_gets_a_score_between_0_and_1(folder: Path) -> None:
    scores = Reranker("random", folder, time_limit_s=60).scores("How high is the tower?", PASSAGES)
    assert len(scores) == len(PASSAGES)
    assert all(0 <= score <= 1 for score in scores)
    assert len(set(scores)) > 1


def test_passages_beyond_the_time_limit_are_not_scored(folder: Path) -> None:
    scores = Reranker("random", folder, time_limit_s=0).scores("How high is the tower?", PASSAGES)
    assert len(scores) == BATCH_SIZE


def test_hits_are_sorted_by_the_rerankers_scores(chatbot: Chatbot, folder: Path) -> None:
    question = SearchQuery("How high is the lighthouse?")
    reranker = Reranker("random", folder, time_limit_s=60)
    plain = Retriever(chatbot.index, chatbot.encoder).retrieve(question, 3)
    hits = Retriever(chatbot.index, chatbot.encoder, reranker).retrieve(question, 3)
    assert {hit.passage for hit in hits} == {hit.passage for hit in plain}
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    before = {hit.passage: hit.score for hit in plain}
    texts = [f"{hit.passage.title}\n{hit.passage.text}" for hit in hits]
    for hit, again in zip(hits, reranker.scores(question.text, texts), strict=True):
        assert hit.score == pytest.approx((before[hit.passage] + again) / 2, abs=0.05)


@pytest.mark.parametrize("scored", [[0.0], [0.0, 1.0], [0.0, 0.0, 1.0]])
def test_unscored_passages_follow_the_scored_ones(scored: list[float]) -> None:
    class OutOfTime(Reranker):
        def scores(self, question: str, passages: Sequence[str]) -> list[float]:
            return scored

    passages = [Excerpt(str(n), "", 0, 1, "x") for n in range(5)]
    found = [(passage, 0.9 - 0.01 * n) for n, passage in enumerate(passages)]
    ordered = rerank(OutOfTime("scripted", Path()), "Why?", found)
    assert {passage.article_id for passage, _ in ordered[: len(scored)]} == {
        passage.article_id for passage in passages[: len(scored)]
    }
    assert [passage for passage, _ in ordered[len(scored) :]] == passages[len(scored) :]
    assert [score for _, score in ordered] == sorted((s for _, s in ordered), reverse=True)


def test_a_model_with_several_scores_is_rejected_as_a_reranker(tmp_path: Path, cache: Path) -> None:
    folder = save_cross_encoder(tmp_path, cache, labels=3)
    with pytest.raises(ModelError, match="cannot be used as a reranker: it outputs 3 scores"):
        Reranker("nli", folder).load()


def test_a_folder_without_a_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match="is neither the folder of a sentence-transformers CrossEncoder"
    ):
        cross_encoder_folder(str(tmp_path), ModelRole.RERANKER)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="cannot be loaded"):
        Reranker("broken", cross_encoder_folder(str(tmp_path), ModelRole.RERANKER)).load()
