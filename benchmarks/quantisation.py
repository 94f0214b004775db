"""Speed and accuracy of quantised weights: `python benchmarks/quantisation.py SET [QUESTIONS]`.

The same prompts, from a fixed sample of the dataset's answerable questions, are given to the bundled
weights (Q4_1) and to these requantised to Q8_0 and to Q4_0. Prints medians over the questions.
"""

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import llama_cpp
from common import build_dataset_index, rows, sample, table

from rag.answering.evidence import score_sentences
from rag.answering.retriever import DEFAULT_TOP_K, Retriever
from rag.evaluation.runner import contains_answer
from rag.models.embedding.encoder import Encoder
from rag.models.generation import prompts
from rag.models.generation.llama import CONTEXT, LlamaGenerator, requantise
from rag.models.generation.prompts import TINY
from rag.models.resolve import generator_file
from rag.settings import load
from rag.store.reader import IndexReader
from rag.types import SearchQuery

WEIGHT_TYPES = {
    "Q4_1, as shipped": None,
    "Q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0,
    "Q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0,
}


def main(data: Path, sample_size: int) -> None:
    settings = load()
    encoder = Encoder.from_settings(settings)
    retriever = Retriever(IndexReader.open(build_dataset_index(data)), encoder)
    shipped = generator_file(settings.generator, settings.cache)
    with tempfile.TemporaryDirectory() as folder:
        generators = {}
        for name, number in WEIGHT_TYPES.items():
            file = shipped if number is None else Path(folder) / f"{name}.gguf"
            if number is not None:
                requantise(shipped, file, number)
            generators[name] = LlamaGenerator(name, file, settings.cache, settings.threads)
        print(measure(data, sample_size, retriever, generators))


def measure(
    data: Path, sample_size: int, retriever: Retriever, generators: dict[str, LlamaGenerator]
) -> str:
    answerable = [q for q in rows(data / "questions.jsonl") if q.get("answers")]
    right_counts = dict.fromkeys(generators, 0)
    read_rates: dict[str, list[float]] = {name: [] for name in generators}
    write_rates: dict[str, list[float]] = {name: [] for name in generators}
    questions = sample(answerable, sample_size)
    for row in questions:
        question = SearchQuery(row["question"])
        hits = retriever.retrieve(question, DEFAULT_TOP_K)
        evidence = score_sentences(question, hits, retriever.encoder, retriever.index.idf)
        count_tokens = retriever.encoder.count_tokens
        sources = TINY.select_evidence(evidence, count_tokens)
        for name, generator in generators.items():
            limit = CONTEXT - TINY.answer_tokens
            prompt = prompts.compose(row["question"], sources, TINY, generator.count_tokens, limit)
            started_at = time.perf_counter()
            token_times, draft = [], ""
            for piece in generator.stream(prompt.messages):
                token_times.append(time.perf_counter())
                draft += piece
            right_counts[name] += contains_answer(draft, row["answers"])
            read_rates[name].append(prompt.tokens / (token_times[0] - started_at))
            if len(token_times) > 2:
                write_rates[name].append(
                    (len(token_times) - 1) / (token_times[-1] - token_times[0])
                )
    return table(
        [
            "weights",
            "prompt tokens/s",
            "draft tokens/s",
            f"answer in the draft, of {len(questions)}",
        ],
        [
            [
                name,
                f"{median(read_rates[name]):.0f}",
                f"{median(write_rates[name]):.0f}",
                str(right_counts[name]),
            ]
            for name in generators
        ],
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 100)
