"""Decoding strategies compared: `python benchmarks/decoding.py SET [QUESTIONS]`.

The bundled generator drafts from the evidence that Footnote chooses: greedily; with prompt lookup
decoding (Saxena 2023), which speculates that the continuation is in the prompt; and with names and
figures restricted to those of the evidence and the question.
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
from common import build_dataset_index, rows, sample, table
from llama_cpp import Llama, LogitsProcessorList
from llama_cpp.llama_speculative import LlamaPromptLookupDecoding
from numpy.typing import NDArray

from rag.answering.chatbot import Chatbot
from rag.answering.evidence import score_sentences
from rag.answering.verify import verify_draft
from rag.evaluation.runner import contains_answer
from rag.models.generation import prompts
from rag.models.generation.llama import CONTEXT, LlamaGenerator, requantised_weights
from rag.models.generation.prompts import TINY
from rag.models.resolve import SMOLLM2, generator_file
from rag.settings import load
from rag.text.tokens import STOP_WORDS
from rag.types import Prompt, SearchQuery

LOOKUP_TOKENS = 6
"""Tokens that prompt lookup speculates at a time."""

Draft = Callable[[Sequence[int]], str]
"""Returns the draft for a prompt's tokens."""


def main(data: Path, sample_size: int) -> None:
    settings = load(index=build_dataset_index(data))
    chatbot = Chatbot.open(settings)
    chatbot.load()
    file = generator_file(SMOLLM2.name, settings.cache)
    generator = LlamaGenerator(SMOLLM2.name, file, settings.cache, settings.threads)
    generator.load()
    decoders_by_name = build_decoders(
        generator, str(requantised_weights(SMOLLM2.name, file, settings.cache))
    )
    questions = sample([q for q in rows(data / "questions.jsonl") if q.get("answers")], sample_size)
    results: dict[str, list[tuple[bool, bool, float]]] = {name: [] for name in decoders_by_name}
    for row in questions:
        prompt = build_prompt(chatbot, generator, row["question"])
        tokens = generator._tokens(prompt.messages)
        for name, draft in decoders_by_name.items():
            draft(tokens)  # warm up, so that the cache of the strategy before does not matter
            started_at = time.perf_counter()
            text = draft(tokens)
            seconds = time.perf_counter() - started_at
            is_supported = bool(verify_draft(text, row["question"], prompt.sources).text)
            results[name].append((contains_answer(text, row["answers"]), is_supported, seconds))
    lines = [
        [
            name,
            f"{np.mean([right for right, _, _ in drafts]):.1%}",
            f"{np.mean([is_supported for _, is_supported, _ in drafts]):.1%}",
            f"{median(seconds for _, _, seconds in drafts):.3f}",
        ]
        for name, drafts in results.items()
    ]
    print(table(["decoding", "answer in the draft", "partly supported", "seconds, median"], lines))


def build_prompt(chatbot: Chatbot, generator: LlamaGenerator, questions: str) -> Prompt:
    question = SearchQuery(questions)
    _, hits = chatbot.search(questions)
    results = score_sentences(question, hits, chatbot.encoder, chatbot.index.idf)
    sources = TINY.select_evidence(results, chatbot.encoder.count_tokens)
    return prompts.compose(questions, sources, TINY, generator.count_tokens, CONTEXT - 96)


def build_decoders(generator: LlamaGenerator, file: str) -> dict[str, Draft]:
    model = generator._vocabulary
    lookup_model = Llama(
        file, n_ctx=CONTEXT, n_threads=generator.threads, n_threads_batch=generator.threads,
        draft_model=LlamaPromptLookupDecoding(num_pred_tokens=LOOKUP_TOKENS), verbose=False,
    )  # fmt: skip
    specific_tokens = find_specific_tokens(model)
    return {
        "greedy": lambda tokens: complete(model, tokens),
        f"prompt lookup, {LOOKUP_TOKENS} tokens": lambda tokens: complete(lookup_model, tokens),
        "greedy, names and figures of the prompt only": lambda tokens: complete(
            model, tokens, allow_prompt_tokens(specific_tokens, tokens)
        ),
    }


def complete(
    llama: Llama, tokens: Sequence[int], processors: LogitsProcessorList | None = None
) -> str:
    completion = llama.create_completion(
        list(tokens), max_tokens=TINY.answer_tokens, temperature=0.0, repeat_penalty=1.0,
        logits_processor=processors,
    )  # fmt: skip
    return str(completion["choices"][0]["text"])


def find_specific_tokens(llama: Llama) -> NDArray[np.bool_]:
    """Return a mask of the tokens that contain a digit, or begin like a name."""
    texts = (llama.detokenize([token]).decode(errors="replace") for token in range(llama.n_vocab()))
    return np.array([is_specific(text.strip()) for text in texts])


def is_specific(text: str) -> bool:
    is_name = text[:1].isupper() and text.lower() not in STOP_WORDS
    return is_name or any(character.isdigit() for character in text)


def allow_prompt_tokens(
    specific_tokens: NDArray[np.bool_], tokens: Sequence[int]
) -> LogitsProcessorList:
    """Forbid those specific tokens that are not in the prompt."""
    forbidden = specific_tokens.copy()
    forbidden[list(tokens)] = False

    def forbid(_: NDArray[np.intc], scores: NDArray[np.single]) -> NDArray[np.single]:
        return np.where(forbidden, -np.inf, scores).astype(np.single)

    return LogitsProcessorList([forbid])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 100)
