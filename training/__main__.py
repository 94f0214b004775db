"""Train the reader and verifier: `python -m training DATA [--out FOLDER] [--seed N]`.

DATA contains the folders `reading` (gzipped reading-comprehension corpora) and `squad2`. The program
builds the examples, trains one network on them, exports its weights, and measures it on titles that it
was not trained on. An interrupted run is resumed. It takes about 90 minutes on two quiet cores; a GPU is
used if there is one.
"""

import argparse
import random
from pathlib import Path

from rag.models.reading.reader import Reader
from rag.models.resolve import MINILM
from rag.settings import load
from training.convert import export
from training.corpora import ReadingQuestion, read_corpora, read_squad_development
from training.examples import build_claim_examples, build_span_examples
from training.measure import measure_reader, measure_verifier, show
from training.train import SEED, build_batches, encode_all, load_network, order_batches, train


def main(data: Path, out: Path, seed: int) -> None:
    """Train unless the weights are in `out` already, then measure."""
    out.mkdir(parents=True, exist_ok=True)
    weights = out / "reader.safetensors"
    if not weights.is_file():
        state = out / "state.safetensors"
        train_network(read_questions(data, seed, held_out=False), state, seed)
        export(state, weights)
    reader = Reader(weights, MINILM.locate() / MINILM.folder, load().cache, "float32")
    squad = list(read_squad_development(data / "squad2", held_out=True))
    show("SQuAD 2.0, held-out titles, the right passage given", measure_reader(reader, squad))
    held_out = read_questions(data, seed, held_out=True)
    claims = build_claim_examples(held_out, seed)
    show("Claims made from held-out questions", measure_verifier(reader, claims))


def read_questions(data: Path, seed: int, *, held_out: bool) -> list[ReadingQuestion]:
    """Return the questions of all corpora, of the held-out titles or of the others."""
    return [
        *read_corpora(data / "reading", seed, held_out=held_out),
        *read_squad_development(data / "squad2", held_out=held_out),
    ]


def train_network(questions: list[ReadingQuestion], state: Path, seed: int) -> None:
    """Train the network on examples made from the questions, and leave it in the checkpoint."""
    network, tokenizer = load_network(MINILM.locate() / MINILM.folder)
    rng = random.Random(seed)
    batches = order_batches(
        build_batches(encode_all(build_span_examples(questions, seed), tokenizer), rng),
        build_batches(encode_all(build_claim_examples(questions, seed), tokenizer), rng),
        rng,
    )
    train(network, batches, state)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("training/run"))
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    main(arguments.data, arguments.out, arguments.seed)
