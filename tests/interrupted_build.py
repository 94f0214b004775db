"""A build that is there to be cut off: `interrupted_build.py INDEX SOURCE`.

It encodes slowly, and keeps what is done at every step, so that there is something to cut off.
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from conftest import FakeEncoder, Quiet
from numpy.typing import NDArray

from rag import change, indexing


class SlowEncoder(FakeEncoder):
    def encode_passages(
        self, texts: Sequence[str], progress: Callable[[int], object] = lambda done: None
    ) -> NDArray[np.float32]:
        time.sleep(0.004 * len(texts))
        return super().encode_passages(texts, progress)


if __name__ == "__main__":
    change.COMMIT_S = 0.0
    indexing.WINDOW = 8
    print("building", flush=True)
    indexing.sync(
        Path(sys.argv[1]), SlowEncoder(), [Path(sys.argv[2])], rebuild=False, progress=Quiet()
    )
