"""Stand-ins for the encoder and for progress, for tests that need no model."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rag.models.embedding.encoder import Encoder


class SilentProgress:
    """Progress that is not shown."""

    def start(self, task: str, total: int | None) -> None:
        pass

    def expect(self, total: int) -> None:
        pass

    def advance(self, steps: int) -> None:
        pass


class FakeEncoder(Encoder):
    """An encoder without a model: a text's vector follows from its hash, a token is four characters.

    `encoded` holds every passage that it was given. `fail_after` texts, it raises `failure`.
    """

    def __init__(
        self,
        name: str = "fake",
        fail_after: int | None = None,
        failure: type[BaseException] = KeyboardInterrupt,
        fingerprint: str = "made up",
    ) -> None:
        super().__init__(name, Path("no-model"))
        self.fingerprint = fingerprint
        self.encoded: list[str] = []
        self._fail_after = fail_after
        self._failure = failure

    @property
    def max_tokens(self) -> int:
        return 40

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [-(-len(text) // 4) for text in texts]

    def encode_passages(
        self, texts: Sequence[str], progress: Callable[[int], object] = lambda done: None
    ) -> NDArray[np.float32]:
        for text in texts:
            if self._fail_after is not None and len(self.encoded) >= self._fail_after:
                raise self._failure
            self.encoded.append(text)
            progress(1)
        return np.stack([self.encode_question(text) for text in texts])

    def encode_question(self, question: str) -> NDArray[np.float32]:
        numbers = np.frombuffer(sha256(question.encode()).digest(), dtype=np.uint8)
        vector = numbers.astype(np.float32) - 127.5
        return vector / np.linalg.norm(vector)
