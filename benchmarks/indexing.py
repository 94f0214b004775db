"""Cost of building and updating an index: `python benchmarks/indexing.py ARTICLES [LIMIT]`.

ARTICLES is a JSON Lines file, gzipped or not, of which the first LIMIT articles are indexed (default:
all). Every figure is of the whole command `rag index`, from start to end; peak memory is that of its
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

from rag import settings
from rag.models.embedding.encoder import Encoder
from rag.store.reader import IndexReader
from rag.text import chunking


@dataclass(frozen=True, slots=True)
class Run:
    """A run of `rag index`: wall-clock seconds, peak memory of the largest process, and its report."""

    seconds: float
    peak_bytes: int
    report: Row


def main(file: Path, limit: int | None) -> None:
    open_file = gzip.open if file.suffix == ".gz" else open
    with open_file(file, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines][:limit]
    with tempfile.TemporaryDirectory() as temporary:
        source, index = Path(temporary, "articles.jsonl"), Path(temporary, "index")
        write(source, rows)
        full_run = rag_index(source, index)
        encoding_s = time_encoding(index)
        unchanged_run = rag_index(source, index)
        changed_rows = [
            change_first_sentence(row) if i % 100 == 0 else row for i, row in enumerate(rows)
        ]
        write(source, changed_rows)
        changed_run = rag_index(source, index)
        write(
            source,
            [*rows, *(change_first_sentence(row) | {"id": f"again {row['id']}"} for row in rows)],
        )
        double_run = rag_index(source, Path(temporary, "twice"))
    table_rows = [
        ["articles, passages", f"{len(rows):,}, {full_run.report['passages']:,}"],
        ["whole run", f"{full_run.seconds:.1f} s"],
        [
            "bare encoding of the same passages",
            f"{encoding_s:.1f} s ({encoding_s / full_run.seconds:.0%})",
        ],
        ["articles per second", f"{len(rows) / full_run.seconds:.1f}"],
        ["second run, nothing changed", f"{unchanged_run.seconds:.2f} s"],
        [
            "1 % changed",
            f"{changed_run.seconds:.1f} s ({changed_run.seconds / full_run.seconds:.1%})",
        ],
        ["peak memory", f"{full_run.peak_bytes / 1e6:,.0f} MB"],
        [
            "twice the articles",
            f"{double_run.seconds:.1f} s, {double_run.report['passages']:,} passages",
        ],
        [
            "peak memory then",
            f"{double_run.peak_bytes / 1e6:,.0f} MB"
            f" ({double_run.peak_bytes / full_run.peak_bytes - 1:+.1%})",
        ],
    ]
    print(table(["measure", file.name], table_rows))


def write(file: Path, rows: list[Row]) -> None:
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def change_first_sentence(row: Row) -> Row:
    """Return the article with another first sentence, so that its passages are new."""
    return row | {"text": f"Number {row.get('id')} was looked at again. {row['text']}"}


def rag_index(source: Path, index: Path) -> Run:
    command = [sys.executable, "-m", "rag", "index", str(source), "--index", str(index), "--json"]
    started_at = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        report = json.loads(process.stdout.read())
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return Run(time.perf_counter() - started_at, usage.ru_maxrss * 1024, report)


def time_encoding(folder: Path) -> float:
    """Return the seconds for encoding an index's passages alone, with the model loaded already."""
    app_settings = settings.load()
    encoder = Encoder.from_settings(app_settings)
    encoder.load()
    heading = chunking.heading_formatter(encoder.count_tokens, encoder.max_tokens)
    with IndexReader.open(folder) as index:
        passages = index.passages(range(1, index.stats().passages * 2))
    texts = {chunking.encoded_text(heading(p.title, p.date), p.text): None for p in passages}
    started_at = time.perf_counter()
    encoder.encode_passages(list(texts))
    return time.perf_counter() - started_at


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
