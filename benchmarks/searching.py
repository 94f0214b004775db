"""How long a question is searched for: `python benchmarks/searching.py ARTICLES [QUESTIONS]`.

Indexes the articles and asks for the titles of some of them, once the models are warm.
"""

import sys
from pathlib import Path
from time import perf_counter

import numpy as np
from common import index_of, table

from rag.chatbot import Chatbot
from rag.drafting import asking
from rag.language import sentences
from rag.settings import load

WARM = 20


def main(articles: Path, most: int) -> None:
    chatbot = Chatbot.open(load(index=index_of(articles)))
    chatbot.load_encoder()
    held = chatbot.index.sample(4 * (most + WARM))
    drafted = [
        found.question
        for article in held
        for start, end in list(sentences(article.text))[:3]
        if (found := asking(article.text[start:end]))
    ][: most + WARM]
    seconds = []
    for question in drafted:
        began = perf_counter()
        chatbot.search(question, (), 8)
        seconds.append(perf_counter() - began)
    median, worst = np.percentile(1000 * np.array(seconds[WARM:]), [50, 95])
    contents = chatbot.index.contents()
    head = ["articles", "passages", "questions", "median ms", "95th percentile ms"]
    numbers = [contents.articles, contents.passages, len(seconds) - WARM]
    print(table(head, [[*(f"{n:,}" for n in numbers), f"{median:.1f}", f"{worst:.1f}"]]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 300)
