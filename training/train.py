"""Examples → a LoRA adapter (Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models").

The loss is on the answer's tokens alone, and logits are computed for those alone: with a vocabulary of
49,152 they would cost more than the layers.
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

from rag.models import SMOLLM2, generator_file

SEED = 7
RANK, ALPHA = 16, 32
LEARNING_RATE, WARM_UP = 1e-3, 20
BATCH = 8
"""Examples read at once, of about one length."""

GATHERED = 2
"""Batches to a step."""

EVERY = 25
"""Steps between two states that are kept: what a stop costs at most."""

LONGEST = 480
"""Tokens of an example; longer ones are left out."""

MATRICES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class Tokens(NamedTuple):
    """An example; those from the place `answer` on are learnt."""

    all: list[int]
    answer: int


def train(examples: Path, state: Path, cache: Path, seed: int) -> PeftModel:
    """Train on all examples once. What `state` holds of an earlier, stopped run is gone on with."""
    torch.manual_seed(seed)
    torch.set_num_threads(
        os.cpu_count() or 1
    )  # the encoder, which made the examples, has its own way
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, tokenizer = _base(cache)
    model = get_peft_model(model, LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=MATRICES))
    model.to(device).train()
    with examples.open(encoding="utf-8") as lines:
        tokens = [_tokens(json.loads(line), tokenizer) for line in lines]
    batches = _batches([t for t in tokens if len(t.all) <= LONGEST], seed)
    steps = [batches[i : i + GATHERED] for i in range(0, len(batches), GATHERED)]
    learnt = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(learnt.values(), weight_decay=0.01)
    done = _go_on(state, learnt, optimizer)
    for number in track(range(done, len(steps)), "Training", total=len(steps), completed=done):
        for group in optimizer.param_groups:
            warm = min(1, (number + 1) / WARM_UP)
            group["lr"] = LEARNING_RATE * warm * (1 - number / len(steps))
        for batch in steps[number]:
            with torch.autocast(device.type, dtype=torch.bfloat16):
                loss = _loss(model, batch, device)
            loss.backward()
        torch.nn.utils.clip_grad_norm_(learnt.values(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if (number + 1) % EVERY == 0:
            _keep(state, learnt, optimizer, number + 1)
    return model


def _base(cache: Path) -> tuple[Any, PreTrainedTokenizerBase]:
    """The embedded generator's model, its weights dequantised, and its tokenizer."""
    file = generator_file(SMOLLM2.name, cache)
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    model = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.bfloat16
    )
    return model, tokenizer


def _tokens(example: dict[str, Any], tokenizer: PreTrainedTokenizerBase) -> Tokens:
    said = [{"role": "user", "content": example["content"]}]
    begun = tokenizer.apply_chat_template(said, add_generation_prompt=True, tokenize=False)
    end = str(tokenizer.eos_token) if example["whole"] else ""
    before = tokenizer(begun, add_special_tokens=False)["input_ids"]
    answer = tokenizer(example["target"] + end, add_special_tokens=False)["input_ids"]
    return Tokens(before + answer, len(before))


def _batches(examples: Sequence[Tokens], seed: int) -> list[list[Tokens]]:
    """Each example once, those of about one length together so that little is padded."""
    drawn = random.Random(seed)
    order = sorted(examples, key=lambda example: len(example.all) + 40 * drawn.random())
    batches = [order[i : i + BATCH] for i in range(0, len(order), BATCH)]
    drawn.shuffle(batches)
    return batches


def _loss(model: PeftModel, batch: Sequence[Tokens], device: torch.device) -> Tensor:
    """Of the tokens to learn; those of an answer of n tokens count 1/√n each."""
    longest = max(len(example.all) for example in batch)
    padded = torch.tensor([e.all + [0] * (longest - len(e.all)) for e in batch], device=device)
    learnt = [(row, at) for row, e in enumerate(batch) for at in range(e.answer, len(e.all))]
    rows, places = torch.tensor(learnt, device=device).T
    inner = model.get_base_model()
    # What is padded stands behind, where causal attention does not look.
    states = inner.model(input_ids=padded).last_hidden_state
    logits = inner.lm_head(states[rows, places - 1]).float()
    counts = torch.bincount(rows).float()
    losses = cross_entropy(logits, padded[rows, places], reduction="none")
    return (losses / counts[rows].sqrt()).sum() / (BATCH * GATHERED)


def _keep(
    state: Path, learnt: dict[str, Tensor], optimizer: torch.optim.Optimizer, done: int
) -> None:
    kept = {name: weights.detach() for name, weights in learnt.items()}
    for name, weights in learnt.items():
        for moment in ("exp_avg", "exp_avg_sq"):
            kept[f"{moment} {name}"] = optimizer.state[weights][moment]
    unfinished = state.with_suffix(".unfinished")
    save_file(kept, unfinished, metadata={"done": str(done)})
    unfinished.replace(state)


def _go_on(state: Path, learnt: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> int:
    """The steps that were done, with the weights and moments as they were then."""
    if not state.is_file():
        return 0
    with safe_open(state, "pt") as kept:
        done = int(kept.metadata()["done"])
        for name, weights in learnt.items():
            weights.data.copy_(kept.get_tensor(name))
            optimizer.state[weights] = {
                "step": torch.tensor(float(done)),
                "exp_avg": kept.get_tensor(f"exp_avg {name}").to(weights.device),
                "exp_avg_sq": kept.get_tensor(f"exp_avg_sq {name}").to(weights.device),
            }
    return done
