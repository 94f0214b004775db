"""Whether a prompt ever overflows: `python benchmarks/overflow.py [CASES]` (10,000).

Each case is a question and sources drawn by chance, in length from nothing to more than fits and in
script from ASCII to emoji, composed for the embedded generator with its own tokenizer.
"""

import random
import sys
from collections import Counter

from common import SEED, table

from rag.datatypes import Excerpt
from rag.errors import QuestionError
from rag.generator import CONTEXT, LlamaGenerator
from rag.models import SMOLLM2, generator_file
from rag.prompt import SMALL, TAUGHT, capable, compose
from rag.questions import MOST_CHARACTERS
from rag.settings import load

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
    drawn = random.Random(SEED)
    came = Counter[str]()
    for _ in range(cases):
        ability = drawn.choice([SMALL, TAUGHT, capable(2048)])
        question = text(drawn, MOST_CHARACTERS)
        sources = [excerpt(text(drawn, 4000)) for _ in range(drawn.randint(0, 8))]
        most = CONTEXT - ability.answer_tokens
        try:
            composed = compose(question, sources, ability, generator.count_tokens, most)
        except QuestionError:
            came["turned down: the question alone does not fit"] += 1
            continue
        fits = generator.count_tokens(composed.messages) + ability.answer_tokens <= CONTEXT
        came["fits" if fits else "OVERFLOWS"] += 1
        if fits and len(composed.sources) < len(sources):
            came["… with sources left out"] += 1
    print(table(["prompt", f"of {cases:,}"], [[what, f"{n:,}"] for what, n in came.items()]))
    print(f"\n{came['OVERFLOWS']} overflow.")


def text(drawn: random.Random, most: int) -> str:
    """Of a random length, short ones as likely as long ones."""
    length = round(2 ** drawn.uniform(0, most.bit_length() - 1))
    return "".join(drawn.choices(drawn.choice(ALPHABETS), k=length))


def excerpt(told: str) -> Excerpt:
    return Excerpt("a", "t", 0, len(told), told)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
