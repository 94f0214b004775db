"""What a GGUF file is, found out before its weights are loaded."""

import ctypes
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag.errors import ModelError

ENCODERS = re.compile(r".*bert.*|.*-embedding|t5encoder|clip")
"""Architectures that llama.cpp reads but that write nothing."""

LEAST_CONTEXT, MOST_CONTEXT = 512, 8192
"""Tokens; more than 8,192 would be memory that no prompt of ours fills."""

AT_WORK = 200_000_000
"""Bytes that llama.cpp takes besides weights and context, about."""

PART = re.compile(r"-00001-of-\d{5}(?=\.gguf$)")

_REASONS = {
    r"unknown model architecture: '(.+?)'": "is of the architecture {0}, which this llama.cpp does"
    " not know",
    r"within the file bounds|failed to read|unexpectedly reached end": "is cut short",
    r"invalid magic|failed to read magic": "is no GGUF file",
}


@dataclass(frozen=True, slots=True)
class GgufFile:
    """A model's file (the first of several): `bytes` of weights in all, and of a token of context.

    `trained_context` is how many tokens it was trained to take in.
    """

    path: Path
    architecture: str
    bytes: int
    trained_context: int
    token_bytes: int
    template: str

    def memory(self, context: int, slots: int = 1) -> int:
        """Bytes that it takes at work with so many tokens of context in each slot."""
        return self.bytes + slots * context * self.token_bytes + AT_WORK

    def context(self, most_bytes: int) -> int:
        """Tokens of context: as many as it was trained for and fit into the memory, in reason."""
        context = min(self.trained_context, MOST_CONTEXT)
        while context > LEAST_CONTEXT and self.memory(context) > most_bytes:
            context //= 2
        return max(context, min(LEAST_CONTEXT, self.trained_context))


def examine(path: Path) -> GgufFile:
    """Read what the file says of itself. Raises ModelError when no answers can be had from it."""
    import llama_cpp

    parameters = llama_cpp.llama_model_default_params()
    parameters.vocab_only = True
    with heard() as said:
        model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
    if not model:
        raise unusable(path, "".join(said))
    try:
        return _examined(path, model)
    finally:
        llama_cpp.llama_model_free(model)


def unusable(path: Path, said: str) -> ModelError:
    """What is wrong with a file of which llama.cpp `said` this."""
    for pattern, reason in _REASONS.items():
        found = re.search(pattern, said)
        if found:
            problem = reason.format(*(repr(group) for group in found.groups()))
            break
    else:
        problem = "is damaged, or of a kind unknown"
    return ModelError(f"The generator {path} {problem}.", remedy=_ANOTHER)


_ANOTHER = "Set RAG_GENERATOR to another GGUF file, or leave it out."


@contextmanager
def heard() -> Iterator[list[str]]:
    """What llama.cpp says meanwhile, rather than on stderr."""
    import llama_cpp
    from llama_cpp._logger import llama_log_callback

    said: list[str] = []

    @llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
    def hear(level: int, text: bytes, user_data: ctypes.c_void_p) -> None:
        said.append(text.decode("utf-8", "replace"))

    llama_cpp.llama_log_set(hear, ctypes.c_void_p(0))
    try:
        yield said
    finally:
        llama_cpp.llama_log_set(llama_log_callback, ctypes.c_void_p(0))


def _examined(path: Path, model: Any) -> GgufFile:
    architecture = _told(model, "general.architecture")
    if ENCODERS.fullmatch(architecture):
        raise ModelError(
            f"The generator {path} is an encoder ({architecture}), which writes nothing.",
            remedy=_ANOTHER,
        )
    template = _told(model, "tokenizer.chat_template")
    if not template:
        raise ModelError(
            f"The generator {path} holds no chat template.",
            remedy="Set RAG_GENERATOR to a chat (instruct) model, or leave it out.",
        )
    about = {key: _numbers(_told(model, f"{architecture}.{key}")) for key in _SHAPE}
    layers, heads, wide = (about[key][0] for key in _SHAPE[:3])
    kept = about["attention.head_count_kv"] if about["attention.head_count_kv"][0] else [heads]
    of_layers = sum(kept) if len(kept) > 1 else kept[0] * layers  # hybrids name each layer's
    usual = wide // max(1, heads)
    keys, values = (about[f"attention.{of}_length"][0] or usual for of in ("key", "value"))
    parts = sorted(path.parent.glob(PART.sub("-?????-of-?????", path.name)))
    return GgufFile(
        path=path,
        architecture=architecture,
        bytes=sum(part.stat().st_size for part in parts),
        trained_context=about["context_length"][0] or LEAST_CONTEXT,
        token_bytes=2 * of_layers * (keys + values),  # float16
        template=template,
    )


_SHAPE = (
    "block_count",
    "attention.head_count",
    "embedding_length",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "context_length",
)


def _numbers(told: str) -> list[int]:
    """The numbers of a value of the metadata, which may be one or a list; 0 where there is none."""
    return [int(number) for number in re.findall(r"\d+", told)] or [0]


def _told(model: Any, key: str) -> str:
    """A value of the file's metadata; empty where it has none."""
    import llama_cpp

    room = 64
    while True:
        told = ctypes.create_string_buffer(room)
        length = llama_cpp.llama_model_meta_val_str(model, key.encode(), told, room)
        if length < room:
            return told.value.decode("utf-8", "replace") if length >= 0 else ""
        room = length + 1
