"""Libraries for extracting text from HTML and PDF: `python benchmarks/extraction.py FOLDER`.

Reads every .html and .pdf below FOLDER with each library that is installed (try `pip install
trafilatura resiliparse readability-lxml justext pypdf pdfminer.six`). If there is a `NAME.txt` beside a
file, it is the expected text: *recall* is the share of its words that were extracted, *precision* the
share of extracted words that belong to it; a Chinese or Japanese character counts as a word. Each file
is read twice more, with a few bytes changed and truncated: *broken* counts the errors, *fatal* the
crashes and timeouts (20 seconds). Each library runs in one process; CPU times are that process's.

For PDFs without an expected text, `pdftotext` (poppler) can write one to compare with.
"""

import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from statistics import mean

from common import SEED, table

TIMEOUT_S = 20

WORD_PATTERN = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u3040-\u9fff]|[^\W_]+")


def trafilatura(content: bytes) -> str:
    from trafilatura import extract

    return extract(content, include_comments=False) or ""


def resiliparse(content: bytes) -> str:
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    html = bytes_to_str(content, detect_encoding(content))
    return extract_plain_text(html, main_content=True, alt_texts=False)


def readability(content: bytes) -> str:
    from lxml.html import fromstring
    from readability import Document

    return str(fromstring(Document(content).summary()).text_content())


def justext(content: bytes) -> str:
    from justext import get_stoplist
    from justext import justext as paragraphs

    return "\n".join(
        paragraph.text
        for paragraph in paragraphs(content, get_stoplist("English"))
        if not paragraph.is_boilerplate
    )


def footnote_html(content: bytes) -> str:
    from rag.sources.readers.html import extract_fields

    return str(extract_fields(content)["text"])


def pypdfium2(content: bytes) -> str:
    from pypdfium2 import PdfDocument

    pages = PdfDocument(content)
    return "\n".join(page.get_textpage().get_text_bounded() for page in pages)


def pypdf(content: bytes) -> str:
    from pypdf import PdfReader

    return "\n".join(page.extract_text() for page in PdfReader(BytesIO(content)).pages)


def pdfminer(content: bytes) -> str:
    from pdfminer.high_level import extract_text

    return extract_text(BytesIO(content))


LIBRARIES: dict[str, list[Callable[[bytes], str]]] = {
    ".html": [trafilatura, resiliparse, readability, justext, footnote_html],
    ".pdf": [pypdfium2, pypdf, pdfminer],
}


@dataclass
class Score:
    files: int = 0
    size: int = 0
    seconds: float = 0.0
    errors: int = 0
    broken: int = 0
    fatal: int = 0
    recall: list[float] = field(default_factory=list)
    precision: list[float] = field(default_factory=list)

    def row(self) -> list[str]:
        return [
            str(self.files),
            f"{self.size / 1e6 / self.seconds:.1f}" if self.seconds else "",
            f"{mean(self.recall):.3f}" if self.recall else "",
            f"{mean(self.precision):.3f}" if self.precision else "",
            *map(str, (self.errors, self.broken, self.fatal)),
        ]


def main() -> None:
    folder = Path(sys.argv[1])
    lines = []
    for suffix, libraries in LIBRARIES.items():
        files = sorted(path for path in folder.rglob(f"*{suffix}") if path.is_file())
        for library in libraries:
            installed = library is footnote_html or find_spec(library.__name__)
            if installed and files:
                lines.append([library.__name__, *measure(library, files).row()])
    print(table("library files MB/s recall precision errors broken fatal".split(), lines))


def measure(library: Callable[[bytes], str], files: list[Path]) -> Score:
    score = Score()
    with Worker(library) as worker:
        for path in files:
            content = path.read_bytes()
            score.files += 1
            score.size += len(content)
            try:
                text, seconds = worker.read(content)
                score.seconds += seconds
            except (BrokenProcessPool, TimeoutError):
                score.fatal += 1
                text = ""
            except Exception:
                score.errors += 1
                text = ""
            reference = path.with_suffix(".txt")
            if reference.is_file():
                compare(text, reference.read_text(), score)
            for broken_content in break_content(content):
                try:
                    worker.read(broken_content)
                except (BrokenProcessPool, TimeoutError):
                    score.fatal += 1
                except Exception:
                    score.broken += 1
    return score


def compare(text: str, reference: str, score: Score) -> None:
    extracted_words, expected_words = (
        Counter(WORD_PATTERN.findall(text)),
        Counter(WORD_PATTERN.findall(reference)),
    )
    shared_count = (extracted_words & expected_words).total()
    score.recall.append(shared_count / (expected_words.total() or 1))
    score.precision.append(shared_count / (extracted_words.total() or 1))


def break_content(content: bytes) -> Iterator[bytes]:
    """Yield the content with some bytes changed and truncated, in the same way on every run."""
    rng = random.Random(SEED)
    corrupted = bytearray(content)
    for _ in range(1 + len(content) // 2000):
        corrupted[rng.randrange(len(content))] = rng.randrange(256)
    yield bytes(corrupted)
    yield content[: rng.randrange(len(content))]


class Worker:
    """A process that runs one library, replaced when it crashes or times out."""

    def __init__(self, library: Callable[[bytes], str]) -> None:
        self._library = library
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def read(self, content: bytes) -> tuple[str, float]:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, get_context("spawn"))
            self._pool.submit(run_timed, self._library, b"<p>warm").exception()
        try:
            return self._pool.submit(run_timed, self._library, content).result(TIMEOUT_S)
        except (BrokenProcessPool, TimeoutError):
            self._end()
            raise

    def _end(self) -> None:
        if self._pool is not None:
            for process in list((self._pool._processes or {}).values()):
                process.kill()
            with suppress(Exception):
                self._pool.shutdown()
            self._pool = None


def run_timed(library: Callable[[bytes], str], content: bytes) -> tuple[str, float]:
    started_at = time.process_time()
    return library(content), time.process_time() - started_at


if __name__ == "__main__":
    main()
