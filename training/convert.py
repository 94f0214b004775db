"""A trained adapter → the GGUF file that is shipped."""

import json
from pathlib import Path

import numpy as np
from gguf import GGUFWriter
from numpy.typing import NDArray
from safetensors.numpy import load_file

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
HEAD_WIDTH = 64
"""Of SmolLM2."""


def convert(folder: Path, file: Path) -> None:
    """Write the adapter that peft saved in `folder`, as float16."""
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    writer = GGUFWriter(file, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", config["lora_alpha"])
    for name, weights in sorted(load_file(folder / "adapter_model.safetensors").items()):
        layer, part, side = _parsed(name)
        if side == "lora_b" and part in ("attn_q", "attn_k"):
            weights = _rotated(weights)
        writer.add_tensor(f"blk.{layer}.{part}.weight.{side}", weights.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _parsed(name: str) -> tuple[int, str, str]:
    """base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight → 3, attn_q, lora_a"""
    _, _, rest = name.partition(".layers.")
    layer, block, projection, side, _ = rest.split(".")
    return int(layer), NAMES[f"{block}.{projection}"], side.lower()


def _rotated(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows as llama.cpp's rotary positions want them: of each head, the two halves interleaved."""
    rows, rank = weights.shape
    heads = weights.reshape(rows // HEAD_WIDTH, 2, HEAD_WIDTH // 2, rank)
    return heads.swapaxes(1, 2).reshape(rows, rank)
