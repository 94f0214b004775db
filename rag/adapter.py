"""A LoRA adapter, merged into the weights that it was trained on: then it costs no time.

The adapter's file is as llama.cpp reads them: `NAME.lora_a` (rank × inputs) and `NAME.lora_b`
(outputs × rank) for the weight `NAME`, and the scale as `adapter.lora.alpha` (Hu et al. 2021, "LoRA:
Low-Rank Adaptation of Large Language Models").
"""

from pathlib import Path

import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter
from gguf.quants import dequantize

ALPHA = "adapter.lora.alpha"


def merge(base: Path, adapter: Path, merged: Path) -> None:
    """Write the GGUF file `merged`: the model `base` with the adapter's weights added, as float16."""
    model, added = GGUFReader(base), GGUFReader(adapter)
    parts = {tensor.name: tensor.data.astype(np.float32) for tensor in added.tensors}
    alpha = float(added.fields[ALPHA].contents())
    writer = GGUFWriter(merged, str(model.fields["general.architecture"].contents()))
    _copy_metadata(model, writer)
    for tensor in model.tensors:
        lower, upper = f"{tensor.name}.lora_a", f"{tensor.name}.lora_b"
        if lower not in parts:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
            continue
        down, up = parts[lower], parts[upper]
        weights = dequantize(tensor.data, tensor.tensor_type) + alpha / len(down) * (up @ down)
        writer.add_tensor(tensor.name, weights.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _copy_metadata(model: GGUFReader, writer: GGUFWriter) -> None:
    for field in model.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue  # the writer's own
        kind = field.types[0]
        of = field.types[-1] if kind is GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kind, sub_type=of)
