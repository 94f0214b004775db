"""Training of the reader and verifier: one epoch over examples of both, in one network."""

import contextlib
import math
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from rich.progress import track
from safetensors import safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import cross_entropy

from rag.models.embedding.minilm import BertEncoder, read_shape
from rag.models.reading.network import ReadingNetwork
from training.examples import Example

SEED = 7
LEARNING_RATE = 2.5e-4
WARM_UP_STEPS = 100
BATCH_TOKENS = 3_600
"""Most tokens in a batch, padding included."""

BATCH_EXAMPLES = 32
"""Most examples in a batch."""

MAX_TOKENS = 256
CHECKPOINT_STEPS = 100
"""Steps between two checkpoints."""

QUESTIONS_FIRST = 0.2
"""Share of the batches of questions that come before the first claims: a claim can only be judged by a
network that finds the place in the passage it is about."""


MOMENTS = ("exp_avg", "exp_avg_sq")
"""What AdamW keeps for each weight."""


class Encoded(NamedTuple):
    """An example's tokens; `target` holds the answer's first and last token, or the claim's label."""

    ids: list[int]
    segments: list[int]
    target: tuple[int, ...]


def load_network(folder: Path) -> tuple[ReadingNetwork, Tokenizer]:
    """Return the embedded encoder's network with untrained heads, and its tokenizer."""
    shape = read_shape(folder)
    if shape is None:
        raise ValueError(f"{folder} does not contain a BERT encoder")
    encoder = BertEncoder(folder, shape, 0, MAX_TOKENS)
    network = ReadingNetwork(shape, encoder.network.embeddings)
    network.encoder.load_state_dict(encoder.network.encoder.state_dict())
    network.embeddings.requires_grad_(False)  # they stay those of the encoder
    network.encoder.requires_grad_(True)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS, strategy="only_second")
    return network, tokenizer


def encode(example: Example, tokenizer: Tokenizer) -> Encoded | None:
    """Tokenise an example; None if its answer is beyond the last token that is read."""
    context = f"{example.heading}\n{example.passage}" if example.heading else example.passage
    encoding = tokenizer.encode(example.text[:600], context)
    if example.label is not None:
        return Encoded(encoding.ids, encoding.type_ids, (int(example.label),))
    if example.span is None:
        return Encoded(encoding.ids, encoding.type_ids, (0, 0))
    shift = len(context) - len(example.passage)
    first = encoding.char_to_token(example.span[0] + shift, 1)
    last = encoding.char_to_token(example.span[1] + shift - 1, 1)
    if first is None or last is None:
        return None
    return Encoded(encoding.ids, encoding.type_ids, (first, last))


def build_batches(examples: Sequence[Encoded], rng: random.Random) -> list[list[Encoded]]:
    """Return batches of examples of similar length, in random order."""
    batches: list[list[Encoded]] = [[]]
    for example in sorted(examples, key=lambda e: len(e.ids) + 16 * rng.random()):
        longest = max([len(example.ids), *(len(e.ids) for e in batches[-1])])
        size = len(batches[-1]) + 1
        if size > BATCH_EXAMPLES or size * longest > BATCH_TOKENS:
            batches.append([])
        batches[-1].append(example)
    rng.shuffle(batches)
    return batches


def order_batches(
    questions: list[list[Encoded]], claims: list[list[Encoded]], rng: random.Random
) -> list[list[Encoded]]:
    """Return all batches: some of questions first, then questions and claims mixed."""
    first = int(len(questions) * QUESTIONS_FIRST)
    mixed = questions[first:] + claims
    rng.shuffle(mixed)
    return questions[:first] + mixed


def train(network: ReadingNetwork, batches: Sequence[Sequence[Encoded]], state: Path) -> None:
    """Train on the batches, from the checkpoint in `state` on if there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(os.cpu_count() or 1)
    network.to(device).train()
    weights = {name: p for name, p in network.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(weights.values(), lr=LEARNING_RATE, weight_decay=0.01)
    done = _load_checkpoint(state, weights, optimizer)
    losses: list[float] = []
    for number in track(range(done, len(batches)), "Training", total=len(batches), completed=done):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * learning_rate_factor(number, len(batches))
        with _autocast(device):
            loss = compute_loss(network, batches[number], device)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if (number + 1) % CHECKPOINT_STEPS == 0:
            print(f"step {number + 1}: loss {sum(losses) / len(losses):.3f}", flush=True)
            losses.clear()
            _save_checkpoint(state, weights, optimizer, number + 1)
    _save_checkpoint(state, weights, optimizer, len(batches))


def learning_rate_factor(step: int, steps: int) -> float:
    """Return the share of the learning rate at a step: linear warm-up, then a linear fall to 0."""
    return min(1.0, (step + 1) / WARM_UP_STEPS) * max(0.0, 1 - step / steps)


def _autocast(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Compute in bfloat16 on a GPU and on CPUs with instructions for it; others are far slower in it."""
    fast = device.type == "cuda" or bool(torch.cpu._is_avx512_bf16_supported())
    return torch.autocast(device.type, dtype=torch.bfloat16) if fast else contextlib.nullcontext()


def pad(batch: Sequence[Encoded], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return token ids, segments and mask of a batch, shape (examples, tokens) each."""
    longest = max(len(example.ids) for example in batch)
    ids = torch.tensor([e.ids + [0] * (longest - len(e.ids)) for e in batch], device=device)
    segments = torch.tensor(
        [e.segments + [0] * (longest - len(e.segments)) for e in batch], device=device
    )
    return ids, segments, ids != 0


def compute_loss(network: ReadingNetwork, batch: Sequence[Encoded], device: torch.device) -> Tensor:
    """Return the mean loss of a batch, which holds either questions or claims."""
    ids, segments, mask = pad(batch, device)
    readings = network(ids, segments, mask)
    targets = torch.tensor([example.target for example in batch], device=device)
    if targets.shape[1] == 1:
        return cross_entropy(readings.claims.float(), targets[:, 0])
    readable = readable_tokens(segments, mask)
    starts = readings.starts.float().masked_fill(~readable, -math.inf)
    ends = readings.ends.float().masked_fill(~readable, -math.inf)
    return (cross_entropy(starts, targets[:, 0]) + cross_entropy(ends, targets[:, 1])) / 2


def readable_tokens(segments: Tensor, mask: Tensor) -> Tensor:
    """Return which tokens a span may start or end at: the first, for no answer, and the passage's."""
    readable = mask & (segments == 1)
    readable[:, 0] = True
    return readable


def _save_checkpoint(
    state: Path, weights: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer, done: int
) -> None:
    tensors = {name: value.detach() for name, value in weights.items()}
    for name, value in weights.items():
        for moment in MOMENTS if value in optimizer.state else ():  # not before the first claim
            tensors[f"{moment} {name}"] = optimizer.state[value][moment]
    unfinished = state.with_suffix(".unfinished")
    save_file(tensors, unfinished, metadata={"done": str(done)})
    unfinished.replace(state)


def _load_checkpoint(
    state: Path, weights: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer
) -> int:
    """Load weights and optimizer state from a checkpoint, and return the number of steps done."""
    if not state.is_file():
        return 0
    with safe_open(state, "pt") as checkpoint:
        done = int(checkpoint.metadata()["done"])
        for name, value in weights.items():
            value.data.copy_(checkpoint.get_tensor(name))
            if f"{MOMENTS[0]} {name}" in set(checkpoint.keys()):
                optimizer.state[value] = {"step": torch.tensor(float(done))} | {
                    moment: checkpoint.get_tensor(f"{moment} {name}").to(value.device)
                    for moment in MOMENTS
                }
    return done


def encode_all(examples: Sequence[Example], tokenizer: Tokenizer) -> list[Encoded]:
    """Return the tokens of the examples that can be read."""
    return [e for e in (encode(example, tokenizer) for example in examples) if e is not None]
