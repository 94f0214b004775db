"""A place in the model where one text is read and gone on with."""

import collections.abc as abc
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from llama_cpp import Llama

SLICE = 64
"""Tokens of a prompt that are read at once: before the next ones, whoever asked may have gone."""


class Slot:
    """llama.cpp with its own memory of one text. One thread at a time; slots don't wait for each other.

    What it makes of a text is the same whatever it has read before, in whichever slot, and with however
    many threads.
    """

    def __init__(self, llama: "Llama") -> None:
        self.llama = llama

    def use(self, threads: int) -> None:
        """Read and write with so many threads from now on."""
        import llama_cpp

        llama_cpp.llama_set_n_threads(self.llama.ctx, threads, threads)

    def read(self, tokens: Sequence[int], shared: Sequence[int]) -> Iterator[None]:
        """Read a text, SLICE by SLICE; of the last one, no more is kept than what is `shared` by all.

        What else is the same as in the last text would be read in other batches now, which rounds
        otherwise: the same question could get another answer.
        """
        self._go_back(tokens, shared)
        for start in range(self.llama.n_tokens, len(tokens), SLICE):
            self.llama.eval(tokens[start : start + SLICE])
            yield

    def _go_back(self, tokens: Sequence[int], shared: Sequence[int]) -> None:
        llama = self.llama
        if list(tokens[: len(shared)]) != list(shared):
            llama.reset()
            return
        if llama.input_ids[: min(llama.n_tokens, len(shared))].tolist() != list(shared):
            llama.reset()
            llama.eval(shared)
        llama.n_tokens = len(shared)

    def log_probabilities(self) -> NDArray[np.float64]:
        """Of each token of the vocabulary, to come next."""
        import llama_cpp

        logits = llama_cpp.llama_get_logits_ith(self.llama.ctx, -1)
        values = np.ctypeslib.as_array(logits, shape=(self.llama.n_vocab(),)).astype(np.float64)
        values -= values.max()
        scaled: NDArray[np.float64] = values - np.log(np.exp(values).sum())
        return scaled

    def likeliest(
        self, first: NDArray[np.float64], most: int
    ) -> abc.Generator[None, None, tuple[list[int], float]]:
        """The likeliest tokens to come, up to `most`, and the product of their probabilities.

        `first` are the log probabilities of the first of them. None after each token that was read.
        """
        probabilities, likely, written = first, 0.0, list[int]()
        while len(written) < most:
            token = int(probabilities.argmax())
            likely += float(probabilities[token])
            if token == self.llama.token_eos():
                break
            written.append(token)
            self.llama.eval([token])
            yield
            probabilities = self.log_probabilities()
        return written, float(np.exp(min(0.0, likely)))

    def go_on(self, tokens: list[int], most: int) -> abc.Generator[str]:
        """What comes after the tokens, piece by piece, up to `most` tokens."""
        pieces = self.llama.create_completion(
            tokens, max_tokens=most, temperature=0.0, repeat_penalty=1.0, stream=True
        )
        with closing(pieces):
            for piece in pieces:
                yield piece["choices"][0]["text"]
