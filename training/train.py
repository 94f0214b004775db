"""Training of a LoRA adapter (Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models").

The loss covers the tokens of the answer only, and logits are computed for those only: with a vocabulary
of 49,152 tokens, they would otherwise cost more than the layers.
"""

import json
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from rich.progress import track
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from rag.models.resolve import SMOLLM2, generator_file

SEED = 7
RANK, ALPHA = 16, 32
LEARNING_RATE = 1e-3
WARM_UP_STEPS = 20
BATCH_SIZE = 8
"""Examples per batch, of similar length."""

GRADIENT_ACCUMULATION = 2
"""Batches per optimizer step."""

CHECKPOINT_STEPS = 25
"""Steps between two checkpoints."""

MAX_TOKENS = 480
"""Tokens of the longest example; longer ones are left out."""

TARGET_MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class TokenizedExample(NamedTuple):
    """The tokens of an example; the loss covers those from `answer_start` on."""

    tokens: list[int]
    answer_start: int


def train(examples: Path, state: Path, cache: Path, seed: int) -> PeftModel:
    """Train on all examples for one epoch, and return the model with its adapter.

    Args:
        examples: JSON Lines file of examples.
        state: Checkpoint file; if it exists, the interrupted run is resumed.
        cache: The cache directory, for the generator's weights.
        seed: Seed of the order of the examples and of the adapter's weights.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(os.cpu_count() or 1)  # the encoder has set another number
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, tokenizer = _load_base_model(cache)
    model = get_peft_model(
        model, LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=TARGET_MODULES)
    )
    model.to(device).train()
    with examples.open(encoding="utf-8") as lines:
        tokenized = [_tokenize(json.loads(line), tokenizer) for line in lines]
    batches = _build_batches([t for t in tokenized if len(t.tokens) <= MAX_TOKENS], seed)
    steps = [
        batches[i : i + GRADIENT_ACCUMULATION]
        for i in range(0, len(batches), GRADIENT_ACCUMULATION)
    ]
    adapter_weights = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(adapter_weights.values(), weight_decay=0.01)
    done = _load_checkpoint(state, adapter_weights, optimizer)
    for number in track(range(done, len(steps)), "Training", total=len(steps), completed=done):
        for group in optimizer.param_groups:
            warm = min(1, (number + 1) / WARM_UP_STEPS)
            group["lr"] = LEARNING_RATE * warm * (1 - number / len(steps))
        for batch in steps[number]:
            with torch.autocast(device.type, dtype=torch.bfloat16):
                loss = _loss(model, batch, device)
            loss.backward()
        torch.nn.utils.clip_grad_norm_(adapter_weights.values(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if (number + 1) % CHECKPOINT_STEPS == 0:
            _save_checkpoint(state, adapter_weights, optimizer, number + 1)
    return model


def _load_base_model(cache: Path) -> tuple[Any, PreTrainedTokenizerBase]:
    """Return the bundled generator's model, with dequantised weights, and its tokenizer."""
    file = generator_file(SMOLLM2.name, cache)
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    model = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.bfloat16
    )
    return model, tokenizer


def _tokenize(example: dict[str, Any], tokenizer: PreTrainedTokenizerBase) -> TokenizedExample:
    messages = [{"role": "user", "content": example["content"]}]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    end = str(tokenizer.eos_token) if example["whole"] else ""
    prompt_tokens = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    answer_tokens = tokenizer(example["target"] + end, add_special_tokens=False)["input_ids"]
    return TokenizedExample(prompt_tokens + answer_tokens, len(prompt_tokens))


def _build_batches(examples: Sequence[TokenizedExample], seed: int) -> list[list[TokenizedExample]]:
    """Return batches of examples of similar length, in random order, to keep padding small."""
    rng = random.Random(seed)
    order = sorted(examples, key=lambda example: len(example.tokens) + 40 * rng.random())
    batches = [order[i : i + BATCH_SIZE] for i in range(0, len(order), BATCH_SIZE)]
    rng.shuffle(batches)
    return batches


def _loss(model: PeftModel, batch: Sequence[TokenizedExample], device: torch.device) -> Tensor:
    """Return the loss of a batch; each of an answer's n tokens has the weight 1/√n."""
    longest = max(len(example.tokens) for example in batch)
    padded = torch.tensor(
        [e.tokens + [0] * (longest - len(e.tokens)) for e in batch], device=device
    )
    targets = [
        (row, position)
        for row, example in enumerate(batch)
        for position in range(example.answer_start, len(example.tokens))
    ]
    rows, positions = torch.tensor(targets, device=device).T
    base_model = model.get_base_model()
    # The padding follows the tokens, so that causal attention ignores it.
    states = base_model.model(input_ids=padded).last_hidden_state
    logits = base_model.lm_head(states[rows, positions - 1]).float()
    counts = torch.bincount(rows).float()
    losses = cross_entropy(logits, padded[rows, positions], reduction="none")
    return (losses / counts[rows].sqrt()).sum() / (BATCH_SIZE * GRADIENT_ACCUMULATION)


def _save_checkpoint(
    state: Path, adapter_weights: dict[str, Tensor], optimizer: torch.optim.Optimizer, done: int
) -> None:
    tensors = {name: weights.detach() for name, weights in adapter_weights.items()}
    for name, weights in adapter_weights.items():
        for moment in ("exp_avg", "exp_avg_sq"):
            tensors[f"{moment} {name}"] = optimizer.state[weights][moment]
    unfinished = state.with_suffix(".unfinished")
    save_file(tensors, unfinished, metadata={"done": str(done)})
    unfinished.replace(state)


def _load_checkpoint(
    state: Path, adapter_weights: dict[str, Tensor], optimizer: torch.optim.Optimizer
) -> int:
    """Load weights and optimizer state from a checkpoint, and return the number of steps done."""
    if not state.is_file():
        return 0
    with safe_open(state, "pt") as checkpoint:
        done = int(checkpoint.metadata()["done"])
        for name, weights in adapter_weights.items():
            weights.data.copy_(checkpoint.get_tensor(name))
            optimizer.state[weights] = {
                "step": torch.tensor(float(done)),
                "exp_avg": checkpoint.get_tensor(f"exp_avg {name}").to(weights.device),
                "exp_avg_sq": checkpoint.get_tensor(f"exp_avg_sq {name}").to(weights.device),
            }
    return done
