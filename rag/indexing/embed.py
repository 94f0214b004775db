"""Encoding of the passages that have no vector yet, while more passages are being read."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass

from rag.indexing.progress import Progress
from rag.models.embedding.encoder import Encoder
from rag.store.writer import IndexWriter
from rag.text import chunking
from rag.types import Excerpt

BATCH_SIZE = 512
"""Passages that are encoded between two writes.

Enough to sort them by length; few enough to fit in memory and to lose in an interruption.
"""

_POLL_S = 0.2


@dataclass(slots=True)
class EncodingStats:
    """Number of passages that were encoded, and the seconds that it took."""

    passages: int = 0
    seconds: float = 0.0


def embed_pending(
    writer: IndexWriter, encoder: Encoder, reading: Future[None], progress: Progress
) -> EncodingStats:
    """Encode the passages without a vector until `reading` has ended and none is left.

    Raises what `reading` raises.
    """
    stats = EncodingStats()
    total_is_final = False
    for batch in _pending_batches(writer, reading):
        if not stats.passages:
            progress.start("Encoding passages", None)
            short_heading = chunking.heading_formatter(encoder.count_tokens, encoder.max_tokens)
        if not total_is_final:
            total_is_final = reading.done()
            progress.expect(stats.passages + writer.count_unencoded())
        began = time.perf_counter()
        texts = {
            key: chunking.encoded_text(short_heading(excerpt.title, excerpt.date), excerpt.text)
            for _, key, excerpt in batch
        }
        vectors = encoder.encode_passages(list(texts.values()), progress.advance)
        stats.seconds += time.perf_counter() - began
        stats.passages += len(texts)
        writer.add_vectors(list(texts), vectors)
        writer.commit_if_due()
    return stats


def _pending_batches(
    writer: IndexWriter, reading: Future[None]
) -> Iterator[list[tuple[int, bytes, Excerpt]]]:
    """Yield full batches while more passages are being read, then the rest."""
    last_number = 0
    while True:
        has_ended = reading.done()  # before the query: no passage is added after it
        if has_ended:
            reading.result()
        batch = writer.unencoded_passages(last_number, BATCH_SIZE)
        if len(batch) < BATCH_SIZE and not has_ended:
            wait([reading], timeout=_POLL_S)
            continue
        if not batch:
            return
        yield batch
        last_number, _, _ = batch[-1]
