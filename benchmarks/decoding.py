"""Whether drafts gain by other ways of decoding: `python benchmarks/decoding.py SET [QUESTIONS]`.

The embedded generator drafts from the evidence that the program chooses, greedily; with prompt lookup
(Saxena 2023), which guesses that what comes next stands in the prompt; and so that it can name no
figure or name that stands neither in the evidence nor in the question.
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
from common import indexed, rows, sample, table
from llama_cpp import Llama, LogitsProcessorList
from llama_cpp.llama_speculative import LlamaPromptLookupDecoding
from numpy.typing import NDArray

from rag import prompt
from rag.chatbot import Chatbot
from rag.citations import check
from rag.datatypes import Prompt, StandaloneQuestion
from rag.evaluation import holds
from rag.evidence import weigh
from rag.generator import CONTEXT, LlamaGenerator, fast_copy
from rag.language import STOP_WORDS
from rag.models import SMOLLM2, generator_file
from rag.prompt import SMALL
from rag.retriever import HITS
from rag.settings import load

GUESSED = 6
"""Tokens that prompt lookup guesses at a time."""

Draft = Callable[[Sequence[int]], str]
"""The prompt's tokens → the draft."""


def main(data: Path, most: int) -> None:
    settings = load(index=indexed(data))
    chatbot = Chatbot.open(settings)
    chatbot.load()
    file = generator_file(SMOLLM2.name, settings.cache)
    generator = LlamaGenerator(SMOLLM2.name, file, settings.cache, settings.threads)
    generator.load()
    ways = decoders(generator, str(fast_copy(SMOLLM2.name, file, settings.cache)))
    asked = sample([q for q in rows(data / "questions.jsonl") if q.get("answers")], most)
    found: dict[str, list[tuple[bool, bool, float]]] = {way: [] for way in ways}
    for row in asked:
        composed = evidence(chatbot, generator, row["question"])
        tokens = generator._tokens(composed.messages)
        for way, draft in ways.items():
            draft(tokens)  # what the one before left behind is no measure
            began = time.perf_counter()
            text = draft(tokens)
            seconds = time.perf_counter() - began
            stands = bool(check(text, row["question"], composed.sources).text)
            found[way].append((holds(text, row["answers"]), stands, seconds))
    lines = [
        [
            way,
            f"{np.mean([right for right, _, _ in drafts]):.1%}",
            f"{np.mean([stands for _, stands, _ in drafts]):.1%}",
            f"{median(seconds for _, _, seconds in drafts):.3f}",
        ]
        for way, drafts in found.items()
    ]
    print(table(["decoding", "answer in the draft", "some of it stands", "seconds, median"], lines))


def evidence(chatbot: Chatbot, generator: LlamaGenerator, asked: str) -> Prompt:
    question = StandaloneQuestion(asked)
    _, hits = chatbot.search(asked, (), HITS)
    found = weigh(question, hits, chatbot.encoder, chatbot.index.rarity)
    sources = SMALL.chosen(found, chatbot.encoder.count_tokens)
    return prompt.compose(asked, sources, SMALL, generator.count_tokens, CONTEXT - 96)


def decoders(generator: LlamaGenerator, file: str) -> dict[str, Draft]:
    plain = generator._vocabulary
    guessing = Llama(
        file, n_ctx=CONTEXT, n_threads=generator._threads, n_threads_batch=generator._threads,
        draft_model=LlamaPromptLookupDecoding(num_pred_tokens=GUESSED), verbose=False,
    )  # fmt: skip
    telling = telling_tokens(plain)
    return {
        "greedy": lambda tokens: complete(plain, tokens),
        f"prompt lookup, {GUESSED} tokens": lambda tokens: complete(guessing, tokens),
        "greedy, names and figures of the prompt only": lambda tokens: complete(
            plain, tokens, only(telling, tokens)
        ),
    }


def complete(
    llama: Llama, tokens: Sequence[int], processors: LogitsProcessorList | None = None
) -> str:
    done = llama.create_completion(
        list(tokens), max_tokens=SMALL.answer_tokens, temperature=0.0, repeat_penalty=1.0,
        logits_processor=processors,
    )  # fmt: skip
    return str(done["choices"][0]["text"])


def telling_tokens(llama: Llama) -> NDArray[np.bool_]:
    """The tokens that hold a figure, or begin like a name."""
    texts = (llama.detokenize([token]).decode(errors="replace") for token in range(llama.n_vocab()))
    return np.array([is_telling(text.strip()) for text in texts])


def is_telling(text: str) -> bool:
    named = text[:1].isupper() and text.lower() not in STOP_WORDS
    return named or any(character.isdigit() for character in text)


def only(telling: NDArray[np.bool_], tokens: Sequence[int]) -> LogitsProcessorList:
    """Rules out what tells something and does not stand among the prompt's tokens."""
    barred = telling.copy()
    barred[list(tokens)] = False

    def bar(_: NDArray[np.intc], scores: NDArray[np.single]) -> NDArray[np.single]:
        return np.where(barred, -np.inf, scores).astype(np.single)

    return LogitsProcessorList([bar])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 100)
