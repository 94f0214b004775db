"""What requantising the generator gives and costs: `python benchmarks/quantisation.py SET [QUESTIONS]`.

The same prompts, from a fixed sample of the set's answerable questions, to the weights as shipped
(Q4_1), requantised to Q8_0 and to Q4_0, in turn; medians over the questions.
"""

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import llama_cpp
from common import indexed, rows, sample, table

from rag import prompt
from rag.datatypes import StandaloneQuestion
from rag.encoder import Encoder
from rag.evaluation import holds
from rag.evidence import weigh
from rag.generator import CONTEXT, LlamaGenerator, requantise
from rag.index import PassageIndex
from rag.models import generator_file
from rag.prompt import SMALL
from rag.retriever import HITS, Retriever
from rag.settings import load

KINDS = {
    "Q4_1, as shipped": None,
    "Q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0,
    "Q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0,
}


def main(data: Path, most: int) -> None:
    settings = load()
    encoder = Encoder.chosen(settings)
    retriever = Retriever(PassageIndex.open(indexed(data)), encoder)
    shipped = generator_file(settings.generator, settings.cache)
    with tempfile.TemporaryDirectory() as folder:
        generators = {}
        for kind, number in KINDS.items():
            file = shipped if number is None else Path(folder) / f"{kind}.gguf"
            if number is not None:
                requantise(shipped, file, number)
            generators[kind] = LlamaGenerator(kind, file, settings.cache, settings.threads)
        print(measured(data, most, retriever, generators))


def measured(
    data: Path, most: int, retriever: Retriever, generators: dict[str, LlamaGenerator]
) -> str:
    answerable = [q for q in rows(data / "questions.jsonl") if q.get("answers")]
    right = dict.fromkeys(generators, 0)
    reading: dict[str, list[float]] = {kind: [] for kind in generators}
    writing: dict[str, list[float]] = {kind: [] for kind in generators}
    asked = sample(answerable, most)
    for row in asked:
        question = StandaloneQuestion(row["question"])
        hits = retriever.retrieve(question, HITS)
        evidence = weigh(question, hits, retriever.encoder, retriever.index.rarity)
        counted = retriever.encoder.count_tokens
        sources = SMALL.chosen(evidence, counted)
        for kind, generator in generators.items():
            most = CONTEXT - SMALL.answer_tokens
            composed = prompt.compose(row["question"], sources, SMALL, generator.count_tokens, most)
            began = time.perf_counter()
            times, draft = [], ""
            for piece in generator.stream(composed.messages):
                times.append(time.perf_counter())
                draft += piece
            right[kind] += holds(draft, row["answers"])
            reading[kind].append(composed.tokens / (times[0] - began))
            if len(times) > 2:
                writing[kind].append((len(times) - 1) / (times[-1] - times[0]))
    return table(
        ["weights", "prompt tokens/s", "draft tokens/s", f"answer in the draft, of {len(asked)}"],
        [
            [kind, f"{median(reading[kind]):.0f}", f"{median(writing[kind]):.0f}", str(right[kind])]
            for kind in generators
        ],
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 100)
