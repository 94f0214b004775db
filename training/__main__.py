"""Train the adapter of the bundled generator: `python -m training DATA [--out FOLDER] [--seed N]`.

DATA contains the datasets `squad2` and `clapnq`. The program builds the examples, trains the adapter,
writes it as GGUF, and evaluates the generator with and without it on the test splits. An interrupted run
is resumed. It takes about two hours on two cores; a GPU is used if there is one.
"""

import argparse
from pathlib import Path

from rag.models.embedding.encoder import Encoder
from rag.settings import SEEDS, load
from rag.store.reader import IndexReader
from training import examples
from training.convert import convert
from training.measure import measure
from training.train import SEED, train

SAMPLE_QUESTIONS = Path(__file__).with_name("seeds.jsonl")


def main(data: Path, out: Path, seed: int, questions: int) -> None:
    """Run those steps whose output is not in `out` yet, then evaluate on `questions` of each kind."""
    out.mkdir(parents=True, exist_ok=True)
    examples_file = out / "examples.jsonl"
    if not examples_file.is_file():
        build_examples(data, out, examples_file)
    adapter = out / "short-answers.gguf"
    if not adapter.is_file():
        model = train(examples_file, out / "state.safetensors", load().cache, seed)
        model.save_pretrained(out / "adapter")
        convert(out / "adapter", adapter)
    measure(data, out, adapter, load(), questions)


def build_examples(data: Path, out: Path, file: Path) -> None:
    """Write the training examples of all datasets to a JSON Lines file."""
    settings = load()
    encoder = Encoder.from_settings(settings)
    datasets = {
        data / "squad2" / "articles.jsonl": examples.squad(data / "squad2", "train"),
        data / "clapnq" / "articles.jsonl": examples.clapnq(data / "clapnq", "train"),
        SEEDS: examples.samples(SAMPLE_QUESTIONS),
    }
    built: list[examples.Example] = []
    for articles, questions in datasets.items():
        with IndexReader.open(examples.build_index(articles, out), encoder=encoder.id) as reader:
            print(f"Building examples of {len(questions):,} questions on {articles}", flush=True)
            finder = examples.EvidenceFinder(reader, encoder)
            built += examples.build_examples(finder, questions)
    examples.write_examples(built, file)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("training/run"))
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--questions", type=int, default=300, help="of each kind, to evaluate with")
    arguments = parser.parse_args()
    main(arguments.data, arguments.out, arguments.seed, arguments.questions)
