"""A build for tests to kill: `interrupted_build.py INDEX SOURCE`.

It encodes slowly and commits after every step, so that a kill interrupts it at an interesting point.
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from fakes import FakeEncoder, SilentProgress
from numpy.typing import NDArray

from rag.indexing import embed
from rag.indexing.sync import sync
from rag.store import writer


class SlowEncoder(FakeEncoder):
    def encode_passages(
        self, texts: Sequence[str], progress: Callable[[int], object] = lambda done: None
    ) -> NDArray[np.float32]:
        time.sleep(0.004 * len(texts))
        return super().encode_passages(texts, progress)


if __name__ == "__main__":
    writer.COMMIT_INTERVAL_S = 0.0
    embed.BATCH_SIZE = 8
    print("building", flush=True)
    sync(
        Path(sys.argv[1]),
        SlowEncoder(),
        [Path(sys.argv[2])],
        rebuild=False,
        progress=SilentProgress(),
    )
