"""Inspection of GGUF files: what a model file contains, without loading its weights."""

import ctypes
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag.errors import ModelError

ENCODER_ARCHITECTURES = re.compile(r".*bert.*|.*-embedding|t5encoder|clip")
"""Architectures that llama.cpp can load but that do not generate text."""

MIN_CONTEXT = 512
"""Tokens of context below which memory is not saved."""

MAX_CONTEXT = 8192
"""Tokens of context; no prompt of this program fills more."""

WORKING_BYTES = 200_000_000
"""Estimate of the memory that llama.cpp takes in addition to weights and context."""

FIRST_SHARD = re.compile(r"-00001-of-\d{5}(?=\.gguf$)")
"""Matches the numbering in the name of the first file of a model that is split into several."""

_REASONS = {
    r"unknown model architecture: '(.+?)'": "has the architecture {0}, which this llama.cpp does not"
    " support",
    r"within the file bounds|failed to read|unexpectedly reached end": "is truncated",
    r"invalid magic|failed to read magic": "is not a GGUF file",
}
"""What is wrong with a file, by llama.cpp's log message."""

_REMEDY = "Set RAG_GENERATOR to another GGUF file, or unset it."


@dataclass(frozen=True, slots=True)
class GgufFile:
    """The description of a model file.

    Attributes:
        path: The file, the first one of a model that is split into several.
        architecture: llama.cpp's name for the model's architecture.
        bytes: The size of the weights, in all files.
        trained_context: The context length that the model was trained for, in tokens.
        token_bytes: Bytes of memory for each token of context.
        template: The chat template, in Jinja.
    """

    path: Path
    architecture: str
    bytes: int
    trained_context: int
    token_bytes: int
    template: str

    def memory(self, context: int, slots: int = 1) -> int:
        """Estimate the bytes of memory that the model takes in use.

        Args:
            context: Tokens of context in each slot.
            slots: The number of texts that it processes at the same time.
        """
        return self.bytes + slots * context * self.token_bytes + WORKING_BYTES

    def context(self, max_bytes: int) -> int:
        """Choose the context length.

        Args:
            max_bytes: The memory available to the model.

        Returns:
            Tokens: at most MAX_CONTEXT and what the model was trained for, and halved while the model
            does not fit into memory, but not below MIN_CONTEXT.
        """
        context = min(self.trained_context, MAX_CONTEXT)
        while context > MIN_CONTEXT and self.memory(context) > max_bytes:
            context //= 2
        return max(context, min(MIN_CONTEXT, self.trained_context))


def inspect_gguf(path: Path) -> GgufFile:
    """Read the metadata of a model file.

    Args:
        path: The file, the first one of a model that is split into several.

    Returns:
        Its description.

    Raises:
        ModelError: The file is damaged, or the model cannot be used as a generator.
    """
    import llama_cpp

    parameters = llama_cpp.llama_model_default_params()
    parameters.vocab_only = True
    with capture_llama_log() as log:
        model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
    if not model:
        raise unusable(path, "".join(log))
    try:
        return _describe(path, model)
    finally:
        llama_cpp.llama_model_free(model)


def unusable(path: Path, log: str) -> ModelError:
    """Build the error for a model file that llama.cpp could not load, given what it logged."""
    problem = "is damaged, or of an unknown type"
    for pattern, reason in _REASONS.items():
        match = re.search(pattern, log)
        if match:
            problem = reason.format(*(repr(group) for group in match.groups()))
            break
    return ModelError(f"The generator {path} {problem}.", remedy=_REMEDY)


@contextmanager
def capture_llama_log() -> Iterator[list[str]]:
    """Collect what llama.cpp logs within the block, instead of printing it on stderr.

    Yields:
        A list to which each message is appended.
    """
    import llama_cpp
    from llama_cpp._logger import llama_log_callback

    messages: list[str] = []

    @llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
    def collect(level: int, text: bytes, user_data: ctypes.c_void_p) -> None:
        messages.append(text.decode("utf-8", "replace"))

    llama_cpp.llama_log_set(collect, ctypes.c_void_p(0))
    try:
        yield messages
    finally:
        llama_cpp.llama_log_set(llama_log_callback, ctypes.c_void_p(0))


def _describe(path: Path, model: Any) -> GgufFile:
    architecture = _read_metadata(model, "general.architecture")
    if ENCODER_ARCHITECTURES.fullmatch(architecture):
        raise ModelError(
            f"The generator {path} is an encoder ({architecture}), which does not generate text.",
            remedy=_REMEDY,
        )
    template = _read_metadata(model, "tokenizer.chat_template")
    if not template:
        raise ModelError(
            f"The generator {path} has no chat template.",
            remedy="Set RAG_GENERATOR to a chat (instruct) model, or unset it.",
        )
    shards = sorted(path.parent.glob(FIRST_SHARD.sub("-?????-of-?????", path.name)))
    context_length = _read_numbers(model, f"{architecture}.context_length")[0]
    return GgufFile(
        path=path,
        architecture=architecture,
        bytes=sum(shard.stat().st_size for shard in shards),
        trained_context=context_length or MIN_CONTEXT,
        token_bytes=_bytes_per_token(model, architecture),
        template=template,
    )


def _bytes_per_token(model: Any, architecture: str) -> int:
    """Return the size of one token's keys and values in all layers, as float16."""

    def numbers(key: str) -> list[int]:
        return _read_numbers(model, f"{architecture}.{key}")

    layers = numbers("block_count")[0]
    heads = numbers("attention.head_count")[0]
    embedding_length = numbers("embedding_length")[0]
    kv_heads = numbers("attention.head_count_kv")
    if not kv_heads[0]:
        kv_heads = [heads]
    all_kv_heads = (
        sum(kv_heads) if len(kv_heads) > 1 else kv_heads[0] * layers
    )  # hybrids list layers
    head_length = embedding_length // max(1, heads)
    key_length = numbers("attention.key_length")[0] or head_length
    value_length = numbers("attention.value_length")[0] or head_length
    return 2 * all_kv_heads * (key_length + value_length)


def _read_numbers(model: Any, key: str) -> list[int]:
    """Return a metadata value that is a number or a list of numbers; [0] if it is missing."""
    return [int(number) for number in re.findall(r"\d+", _read_metadata(model, key))] or [0]


def _read_metadata(model: Any, key: str) -> str:
    """Return a metadata value as text; empty if it is missing."""
    import llama_cpp

    size = 64
    while True:
        buffer = ctypes.create_string_buffer(size)
        length = llama_cpp.llama_model_meta_val_str(model, key.encode(), buffer, size)
        if length < size:
            return buffer.value.decode("utf-8", "replace") if length >= 0 else ""
        size = length + 1
