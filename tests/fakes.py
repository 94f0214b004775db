"""Stand-ins for the encoder, the reader and for progress, for tests that need no model."""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from math import inf, log
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rag.models.embedding.encoder import Encoder
from rag.models.reading.reader import AnswerSpan, PassageReading, ReadablePassage, Reader
from rag.types import ClaimScores


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


SUPPORTED = ClaimScores(0.98, 0.01, 0.01)
CONTRADICTED = ClaimScores(0.01, 0.98, 0.01)
NOT_STATED = ClaimScores(0.01, 0.01, 0.98)


class ScriptedReader(Reader):
    """A reader without a model.

    It finds each of `answers` where a passage contains it, with the probability given. It judges a claim
    by `verdicts`, and any other one as `verdict`. `judged` contains every claim that it was given.
    """

    def __init__(
        self,
        answers: Mapping[str, float] | None = None,
        verdicts: Mapping[str, ClaimScores] | None = None,
        verdict: ClaimScores = SUPPORTED,
    ) -> None:
        super().__init__(Path("no-weights"), Path("no-model"))
        self.judged: list[str] = []
        self._answers = answers or {}
        self._verdicts = verdicts or {}
        self._verdict = verdict

    def read(self, question: str, passages: Sequence[ReadablePassage]) -> list[PassageReading]:
        return [self._reading(passage.text) for passage in passages]

    def judge(self, claim: str, passages: Sequence[ReadablePassage]) -> list[ClaimScores]:
        self.judged.append(claim)
        return [self._verdicts.get(claim, self._verdict) for _ in passages]

    def _reading(self, text: str) -> PassageReading:
        spans = [
            AnswerSpan(text.index(answer), text.index(answer) + len(answer), probability)
            for answer, probability in self._answers.items()
            if answer in text
        ]
        spans.sort(key=lambda span: -span.probability)
        best = spans[0].probability if spans else 0.0
        return PassageReading(tuple(spans), log(best / (1 - best)) if best else -inf)
