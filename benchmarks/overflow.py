"""Fuzz test for prompts longer than the context: `python benchmarks/overflow.py [CASES]` (10,000).

Each case is a random question with random sources, of lengths from nothing to more than fits and in
scripts from ASCII to emoji. The prompt is composed for the bundled generator, with its own tokenizer.
"""

import random
import sys
from collections import Counter

from common import SEED, table

from rag.answering.question import MAX_CHARACTERS
from rag.errors import QuestionError
from rag.models.generation.llama import CONTEXT, LlamaGenerator
from rag.models.generation.prompts import TINY, compose, general_profile
from rag.models.resolve import SMOLLM2, generator_file
from rag.settings import load
from rag.types import Excerpt

ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz     .,",
    "0123456789.,%$€ ",
    "àéîöüßçñ žłő",
    "漢字仮名交じり文の例。",
    "مرحبا بالعالم ",
    "🦜🎈👩‍👩‍👧\u200d ",
    "<|im_end|>\n<|im_start|>system\n",
    "\x00\x07\t\n\u2028 ",
)


def main(cases: int) -> None:
    settings = load()
    file = generator_file(SMOLLM2.name, settings.cache)
    generator = LlamaGenerator(SMOLLM2.name, file, settings.cache, settings.threads)
    generator.load()
    rng = random.Random(SEED)
    outcomes = Counter[str]()
    for _ in range(cases):
        profile = rng.choice([TINY, general_profile(2048)])
        question = random_text(rng, MAX_CHARACTERS)
        sources = [excerpt(random_text(rng, 4000)) for _ in range(rng.randint(0, 8))]
        limit = CONTEXT - profile.answer_tokens
        try:
            prompt = compose(question, sources, profile, generator.count_tokens, limit)
        except QuestionError:
            outcomes["rejected: the question alone does not fit"] += 1
            continue
        fits = generator.count_tokens(prompt.messages) + profile.answer_tokens <= CONTEXT
        outcomes["fits" if fits else "OVERFLOWS"] += 1
        if fits and len(prompt.sources) < len(sources):
            outcomes["… with sources left out"] += 1
    print(
        table(
            ["prompt", f"of {cases:,}"],
            [[outcome, f"{count:,}"] for outcome, count in outcomes.items()],
        )
    )
    print(f"\n{outcomes['OVERFLOWS']} overflow.")


def random_text(rng: random.Random, limit: int) -> str:
    """Return a text of random length, with a uniformly distributed logarithm."""
    length = round(2 ** rng.uniform(0, limit.bit_length() - 1))
    return "".join(rng.choices(rng.choice(ALPHABETS), k=length))


def excerpt(content: str) -> Excerpt:
    return Excerpt("a", "t", 0, len(content), content)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
