"""Messages between `rag.sources.process` and `rag.sources.worker`.

They are JSON, so that nothing that came out of a file is ever unpickled.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rag.types import Article, SkipCause, Skipped
from rag.wording import Phrase

READY = b"ready"
"""First message of the worker."""

OUT_OF_MEMORY_STATUS = 3
"""Exit status of a worker that ran out of memory."""

Batch = tuple[list[Article | Skipped], bool, bool]
"""What was read of a file, whether it is the file's last batch, and whether the file failed."""


def encode_request(path: Path, name: str) -> bytes:
    """Encode the order to read a file, which is called `name` in ids and reasons."""
    return json.dumps([str(path), name]).encode()


def decode_request(message: bytes) -> tuple[Path, str]:
    """Decode the path and name of a file to read."""
    path, name = json.loads(message)
    return Path(path), name


def encode_batch(articles: Sequence[Article | Skipped], *, last: bool, failed: bool) -> bytes:
    """Encode a batch of what a file contains."""
    tagged = [[isinstance(article, Article), asdict(article)] for article in articles]
    # A file name that is not UTF-8 is a string with surrogates in Python.
    return json.dumps([tagged, last, failed], ensure_ascii=False).encode(errors="surrogatepass")


def decode_batch(message: bytes) -> Batch:
    """Decode a batch of what a file contains."""
    tagged, last, failed = json.loads(message.decode(errors="surrogatepass"))
    articles: list[Article | Skipped] = []
    for is_article, fields in tagged:
        if is_article:
            articles.append(Article(**{**fields, "pages": tuple(fields["pages"])}))
        else:
            reason, cause = Phrase(**fields["reason"]), SkipCause(fields["cause"])
            articles.append(Skipped(**{**fields, "reason": reason, "cause": cause}))
    return articles, last, failed
