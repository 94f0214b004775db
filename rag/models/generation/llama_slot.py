"""Slot: one llama.cpp context, which processes one text at a time."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from llama_cpp import Llama

SLICE = 64
"""Tokens of a prompt that are evaluated at once; between two slices, the caller may stop."""


class Slot:
    """A llama.cpp context. Each slot is used by one thread at a time; slots are independent.

    What is generated does not depend on earlier texts, on the slot, or on the number of threads.
    """

    def __init__(self, llama: "Llama") -> None:
        self.llama = llama

    def use(self, threads: int) -> None:
        """Set the number of threads."""
        import llama_cpp

        llama_cpp.llama_set_n_threads(self.llama.ctx, threads, threads)

    def read(self, tokens: Sequence[int], shared: Sequence[int]) -> Iterator[None]:
        """Evaluate a prompt, and keep only the shared prefix of the previous one.

        Keeping a longer common prefix would split the rest into other slices, which rounds differently:
        the same question could get another answer.

        Args:
            tokens: The prompt.
            shared: The prefix that all prompts share.

        Yields:
            None after each slice of SLICE tokens.
        """
        self._reset_to_prefix(tokens, shared)
        for start in range(self.llama.n_tokens, len(tokens), SLICE):
            self.llama.eval(tokens[start : start + SLICE])
            yield

    def _reset_to_prefix(self, tokens: Sequence[int], shared: Sequence[int]) -> None:
        """Drop everything from the context but `shared`, or all if the prompt does not begin with it."""
        llama = self.llama
        if list(tokens[: len(shared)]) != list(shared):
            llama.reset()
            return
        if llama.input_ids[: min(llama.n_tokens, len(shared))].tolist() != list(shared):
            llama.reset()
            llama.eval(shared)
        llama.n_tokens = len(shared)

    def logits(self) -> NDArray[np.float32]:
        """Return the unnormalised score of each token to come next, shape (vocabulary,)."""
        import llama_cpp

        pointer = llama_cpp.llama_get_logits_ith(self.llama.ctx, -1)
        logits: NDArray[np.float32] = np.ctypeslib.as_array(pointer, shape=(self.llama.n_vocab(),))
        return logits

    def generate(self, tokens: list[int], max_tokens: int) -> Generator[str]:
        """Generate a continuation of the tokens, at temperature 0.

        Args:
            tokens: The prompt.
            max_tokens: The most tokens to generate.

        Yields:
            Pieces of text.
        """
        chunks = self.llama.create_completion(
            tokens, max_tokens=max_tokens, temperature=0.0, repeat_penalty=1.0, stream=True
        )
        with closing(chunks):
            for chunk in chunks:
                yield chunk["choices"][0]["text"]
