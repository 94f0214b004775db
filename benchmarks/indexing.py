"""What building and renewing an index costs: `python benchmarks/indexing.py ARTICLES [MOST]`.

ARTICLES is a JSON Lines file, gzipped or not, of which the first MOST articles are taken (all). Every
figure is of the whole command `rag index`, from its start to its end; the peak is the memory of its
largest process.
"""

import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from common import Row, table

from rag import passages, settings
from rag.encoder import Encoder
from rag.index import PassageIndex


@dataclass(frozen=True, slots=True)
class Run:
    """A run of `rag index`: wall-clock seconds, largest process in bytes, and what it said."""

    seconds: float
    peak: int
    said: Row


def main(file: Path, most: int | None) -> None:
    opened = gzip.open if file.suffix == ".gz" else open
    with opened(file, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines][:most]
    with tempfile.TemporaryDirectory() as temporary:
        source, index = Path(temporary, "articles.jsonl"), Path(temporary, "index")
        write(source, rows)
        whole = rag_index(source, index)
        bare = bare_encoding_s(index)
        again = rag_index(source, index)
        one_in_100 = [changed(row) if i % 100 == 0 else row for i, row in enumerate(rows)]
        write(source, one_in_100)
        renewed = rag_index(source, index)
        write(source, [*rows, *(changed(row) | {"id": f"again {row['id']}"} for row in rows)])
        twice = rag_index(source, Path(temporary, "twice"))
    lines_ = [
        ["articles, passages", f"{len(rows):,}, {whole.said['passages']:,}"],
        ["whole run", f"{whole.seconds:.1f} s"],
        ["bare encoding of the same passages", f"{bare:.1f} s ({bare / whole.seconds:.0%})"],
        ["articles per second", f"{len(rows) / whole.seconds:.1f}"],
        ["second run, nothing changed", f"{again.seconds:.2f} s"],
        ["1 % changed", f"{renewed.seconds:.1f} s ({renewed.seconds / whole.seconds:.1%})"],
        ["peak memory", f"{whole.peak / 1e6:,.0f} MB"],
        ["twice the articles", f"{twice.seconds:.1f} s, {twice.said['passages']:,} passages"],
        ["peak memory then", f"{twice.peak / 1e6:,.0f} MB ({twice.peak / whole.peak - 1:+.1%})"],
    ]
    print(table(["measure", file.name], lines_))


def write(file: Path, rows: list[Row]) -> None:
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def changed(row: Row) -> Row:
    """The article with another first sentence, so that its passages are new."""
    return row | {"text": f"Number {row.get('id')} was looked at again. {row['text']}"}


def rag_index(source: Path, index: Path) -> Run:
    command = [sys.executable, "-m", "rag", "index", str(source), "--index", str(index), "--json"]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.read())
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return Run(time.perf_counter() - began, used.ru_maxrss * 1024, said)


def bare_encoding_s(folder: Path) -> float:
    """Seconds that nothing but encoding the index's passages takes, the model being loaded."""
    chosen = settings.load()
    encoder = Encoder.chosen(chosen)
    encoder.load()
    heading = passages.headings(encoder.count_tokens, encoder.max_tokens)
    with PassageIndex.open(folder) as index:
        held = index.passages(range(1, index.contents().passages * 2))
    texts = {passages.encoded_text(heading(p.title, p.date), p.text): None for p in held}
    began = time.perf_counter()
    encoder.encode_passages(list(texts))
    return time.perf_counter() - began


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
