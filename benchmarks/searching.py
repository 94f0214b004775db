"""Latency of a search: `python benchmarks/searching.py ARTICLES [QUESTIONS]`.

Indexes the articles and searches for questions generated from some of them, after warming up.
"""

import sys
from pathlib import Path
from time import perf_counter

import numpy as np
from common import build_index, table

from rag.answering.chatbot import Chatbot
from rag.evaluation.synthesize import generate_question
from rag.settings import load
from rag.text.sentences import sentences

WARM_UP = 20
"""Searches that are not measured."""


def main(articles: Path, question_count: int) -> None:
    chatbot = Chatbot.open(load(index=build_index(articles)))
    chatbot.load_encoder()
    sampled_articles = chatbot.index.sample(4 * (question_count + WARM_UP))
    questions = [
        cloze.question
        for article in sampled_articles
        for start, end in list(sentences(article.text))[:3]
        if (cloze := generate_question(article.text[start:end]))
    ][: question_count + WARM_UP]
    seconds = []
    for question in questions:
        started_at = perf_counter()
        chatbot.search(question)
        seconds.append(perf_counter() - started_at)
    median, p95 = np.percentile(1000 * np.array(seconds[WARM_UP:]), [50, 95])
    stats = chatbot.index.stats()
    head = ["articles", "passages", "questions", "median ms", "95th percentile ms"]
    numbers = [stats.articles, stats.passages, len(seconds) - WARM_UP]
    print(table(head, [[*(f"{number:,}" for number in numbers), f"{median:.1f}", f"{p95:.1f}"]]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 300)
