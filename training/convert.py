"""Conversion of a trained PEFT adapter to the GGUF file that is part of the package."""

import json
from pathlib import Path

import numpy as np
from gguf import GGUFWriter
from numpy.typing import NDArray
from safetensors.numpy import load_file

TENSOR_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
HEAD_WIDTH = 64
"""Width of an attention head of SmolLM2."""


def convert(folder: Path, file: Path) -> None:
    """Write the adapter that PEFT saved in `folder` as a GGUF file, in float16."""
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    writer = GGUFWriter(file, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", config["lora_alpha"])
    for name, weights in sorted(load_file(folder / "adapter_model.safetensors").items()):
        layer, part, side = _parse_name(name)
        if side == "lora_b" and part in ("attn_q", "attn_k"):
            weights = _permute_rows(weights)
        writer.add_tensor(f"blk.{layer}.{part}.weight.{side}", weights.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _parse_name(name: str) -> tuple[int, str, str]:
    """Parse base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight as 3, attn_q, lora_a."""
    _, _, rest = name.partition(".layers.")
    layer, block, projection, side, _ = rest.split(".")
    return int(layer), TENSOR_NAMES[f"{block}.{projection}"], side.lower()


def _permute_rows(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Interleave the two halves of each head's rows, as llama.cpp's rotary embedding expects."""
    rows, rank = weights.shape
    heads = weights.reshape(rows // HEAD_WIDTH, 2, HEAD_WIDTH // 2, rank)
    return heads.swapaxes(1, 2).reshape(rows, rank)
