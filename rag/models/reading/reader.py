"""Reader and verifier: find the answer to a question in passages, and judge claims by passages.

One network does both (see `network`). It reads a question or claim together with a whole passage and the
title and date of its article, so that "they" and "the ship" are understood. docs/training.md says how it
was trained.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rag.errors import ModelError
from rag.models import memory
from rag.models.embedding import arithmetic
from rag.models.lazy import Lazy
from rag.models.threads import single_threaded_pool
from rag.types import ClaimScores

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer
    from torch import Tensor

    from rag.models.reading.network import ReadingNetwork, Readings

MAX_TOKENS = 384
"""Most tokens of a question and a passage together; the rest of the passage is not read."""

MAX_QUESTION_CHARACTERS = 600
"""Most characters of a question or claim; the rest is not read."""

MAX_SPAN_TOKENS = 40
"""Most tokens of an answer."""

MAX_SPANS = 20
"""Number of spans that are considered in a passage."""


class ReadablePassage(NamedTuple):
    """A passage and the heading of its article, which is read before it; it may be empty."""

    heading: str
    text: str


@dataclass(frozen=True, slots=True)
class AnswerSpan:
    """A part of a passage's text that may answer the question.

    Attributes:
        start: Offset of its first character in the passage's text.
        end: Offset after its last character.
        probability: The probability, 0 to 1, that it is the answer.
    """

    start: int
    end: int
    probability: float


@dataclass(frozen=True, slots=True)
class PassageReading:
    """What the reader finds in one passage.

    Attributes:
        spans: The most probable answers, best first; they may overlap.
        log_odds: Natural logarithm of the odds of the best span against the passage not answering.
    """

    spans: tuple[AnswerSpan, ...]
    log_odds: float


class _Loaded(NamedTuple):
    network: "ReadingNetwork"
    tokenizer: "Tokenizer"


class Reader:
    """Reads passages; the weights are loaded on first use.

    Args:
        weights: A safetensors file with the weights of the layers and heads.
        encoder_folder: The folder of the encoder whose embeddings and tokenizer the reader uses.
        cache: The cache folder, for the measured speed of each arithmetic; None to keep none.
        dtype: int8, bfloat16, float32, or auto for the fastest of them on this machine.
    """

    def __init__(
        self, weights: Path, encoder_folder: Path, cache: Path | None = None, dtype: str = "auto"
    ) -> None:
        self._weights = weights
        self._encoder_folder = encoder_folder
        self._cache = cache
        self._dtype = dtype
        self._model: Lazy[_Loaded] = Lazy(self._load)

    @property
    def name(self) -> str:
        """The name of the weights' file, without suffix."""
        return self._weights.stem

    @property
    def memory(self) -> int:
        """Bytes of memory that loading the model will take; 0 once it is loaded."""
        return 0 if self._model.loaded else memory.estimate_memory(self._encoder_folder)

    def load(self) -> None:
        """Load the model now instead of on first use. Raises ModelError."""
        self._model.get()

    def read(self, question: str, passages: Sequence[ReadablePassage]) -> list[PassageReading]:
        """Find the answer to a question in each of several passages.

        Args:
            question: The question.
            passages: The passages; tokens beyond `MAX_TOKENS` are ignored.

        Returns:
            One reading for each passage.

        Raises:
            ModelError: The model cannot be loaded.
        """
        return [
            _find_spans(encoding, scores, len(_context(passage)) - len(passage.text))
            for passage, (encoding, scores) in zip(
                passages, self._score_pairs(question, passages), strict=True
            )
        ]

    def judge(self, claim: str, passages: Sequence[ReadablePassage]) -> list[ClaimScores]:
        """Judge a claim by each of several passages.

        Args:
            claim: A sentence, or a question that can be answered with yes or no.
            passages: The passages; tokens beyond `MAX_TOKENS` are ignored.

        Returns:
            One element for each passage.

        Raises:
            ModelError: The model cannot be loaded.
        """
        return [
            ClaimScores(*scores.claims[0].softmax(0).tolist())
            for _, scores in self._score_pairs(claim, passages)
        ]

    def _score_pairs(
        self, text: str, passages: Sequence[ReadablePassage]
    ) -> "list[tuple[Encoding, Readings]]":
        """Return the tokens and the network's scores of a question or claim with each passage."""
        network, tokenizer = self._model.get()
        first = text[:MAX_QUESTION_CHARACTERS]
        encodings = [tokenizer.encode(first, _context(passage)) for passage in passages]
        with single_threaded_pool() as pool:
            scores = list(pool.map(lambda encoding: _compute(network, encoding), encodings))
        return list(zip(encodings, scores, strict=True))

    def _load(self) -> _Loaded:
        from safetensors import SafetensorError
        from tokenizers import Tokenizer

        try:
            network = _load_network(self._weights, self._encoder_folder)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise ModelError(
                f"The reader in {self._weights} cannot be loaded: {str(error).splitlines()[0]}.",
                remedy="Reinstall Footnote: the file is damaged.",
            ) from error
        kind = arithmetic.get_timings(self._cache, self._encoder_folder).fastest(self._dtype)
        try:
            arithmetic.apply(network, kind)
        except RuntimeError:  # this build of torch does not support it
            network = _load_network(self._weights, self._encoder_folder)
        tokenizer = Tokenizer.from_file(str(self._encoder_folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(MAX_TOKENS, strategy="only_second")
        return _Loaded(network, tokenizer)


def _load_network(weights: Path, encoder_folder: Path) -> "ReadingNetwork":
    from safetensors.torch import load_file

    from rag.models.embedding.minilm import load_embeddings, read_shape
    from rag.models.reading.network import ReadingNetwork

    shape = read_shape(encoder_folder)
    if shape is None:
        raise ValueError(f"{encoder_folder} does not contain a BERT encoder")
    network = ReadingNetwork(shape, load_embeddings(encoder_folder, shape))
    missing, unexpected = network.load_state_dict(load_file(weights), strict=False)
    if unexpected or any(not name.startswith("embeddings.") for name in missing):
        raise ValueError("its weights do not fit the network")
    return network.float().eval()


def _context(passage: ReadablePassage) -> str:
    return f"{passage.heading}\n{passage.text}" if passage.heading else passage.text


def _compute(network: "ReadingNetwork", encoding: "Encoding") -> "Readings":
    import torch

    ids = torch.tensor([encoding.ids])
    segments = torch.tensor([encoding.type_ids])
    with torch.inference_mode():
        readings: Readings = network(ids, segments, torch.ones_like(ids, dtype=torch.bool))
    return readings


def _find_spans(encoding: "Encoding", readings: "Readings", heading_length: int) -> PassageReading:
    """Return the best spans of the passage's text; those in the heading are left out."""
    import torch

    starts, ends = readings.starts[0].float(), readings.ends[0].float()
    no_answer = float(starts[0] + ends[0])
    first = next(
        (
            index
            for index, (segment, (start, end)) in enumerate(
                zip(encoding.type_ids, encoding.offsets, strict=True)
            )
            if segment == 1 and start >= heading_length and end > start
        ),
        None,
    )
    if first is None:
        return PassageReading((), -math.inf)
    last = len(encoding.ids) - 1  # the final separator
    scores = _span_scores(starts[first:last], ends[first:last])
    best = torch.topk(scores.flatten(), min(MAX_SPANS, scores.numel()))
    width = scores.shape[1]
    weights = torch.softmax(torch.cat([best.values, torch.tensor([no_answer])]), 0).tolist()
    spans = tuple(
        AnswerSpan(
            encoding.offsets[first + index // width][0] - heading_length,
            encoding.offsets[first + index % width][1] - heading_length,
            probability,
        )
        for index, probability in zip(best.indices.tolist(), weights, strict=False)
        if probability > 0
    )
    return PassageReading(spans, float(best.values[0]) - no_answer)


def _span_scores(starts: "Tensor", ends: "Tensor") -> "Tensor":
    """Return the score of each span, shape (tokens, tokens); -inf for those that are none."""
    import torch

    allowed = torch.ones(len(starts), len(starts), dtype=torch.bool)
    allowed = allowed.triu() & allowed.tril(MAX_SPAN_TOKENS - 1)
    return (starts[:, None] + ends[None, :]).masked_fill(~allowed, -math.inf)
