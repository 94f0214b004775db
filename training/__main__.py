"""Teach the embedded generator its one job: `python -m training DATA [--out FOLDER] [--seed N]`.

DATA holds the question sets `squad2` and `clapnq`. Makes the examples, trains, writes the adapter and
measures it beside none, on the halves not trained on. Stopped, it goes on where it was. About two
hours on two cores; a GPU is used when there is one.
"""

import argparse
from pathlib import Path

from rag.encoder import Encoder
from rag.index import PassageIndex
from rag.settings import SEEDS, load
from training import examples
from training.convert import convert
from training.measure import measure
from training.train import SEED, train

OURS = Path(__file__).with_name("seeds.jsonl")


def main(data: Path, out: Path, seed: int, questions: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    learnt = out / "examples.jsonl"
    if not learnt.is_file():
        make_examples(data, out, learnt)
    adapter = out / "short-answers.gguf"
    if not adapter.is_file():
        model = train(learnt, out / "state.safetensors", load().cache, seed)
        model.save_pretrained(out / "adapter")
        convert(out / "adapter", adapter)
    measure(data, out, adapter, load(), questions)


def make_examples(data: Path, out: Path, file: Path) -> None:
    settings = load()
    encoder = Encoder.chosen(settings)
    sets = {
        data / "squad2" / "articles.jsonl": examples.squad(data / "squad2", "train"),
        data / "clapnq" / "articles.jsonl": examples.clapnq(data / "clapnq", "train"),
        SEEDS: examples.samples(OURS),
    }
    made: list[examples.Example] = []
    for articles, asked in sets.items():
        with PassageIndex.open(examples.indexed(articles, out), encoder=encoder.id) as opened:
            print(f"Making examples of {len(asked):,} questions on {articles}", flush=True)
            made += examples.made(examples.Finder(opened, encoder), asked)
    examples.write(made, file)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("training/run"))
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--questions", type=int, default=300, help="of each kind, to measure with")
    arguments = parser.parse_args()
    main(arguments.data, arguments.out, arguments.seed, arguments.questions)
