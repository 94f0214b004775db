"""Merging of a LoRA adapter into the weights that it was trained on, so that it costs no time in use.

The adapter is a GGUF file as llama.cpp reads it: `NAME.lora_a` (rank x inputs) and `NAME.lora_b`
(outputs x rank) for each weight `NAME`, and the scale as `adapter.lora.alpha` (Hu et al. 2021, "LoRA:
Low-Rank Adaptation of Large Language Models").
"""

from pathlib import Path

import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter
from gguf.quants import dequantize

ALPHA = "adapter.lora.alpha"
"""The metadata key of the scale."""


def merge(base: Path, adapter: Path, merged: Path) -> None:
    """Add an adapter to a model's weights.

    Args:
        base: The model, a GGUF file.
        adapter: The adapter, a GGUF file.
        merged: The GGUF file to write; weights that the adapter changes are stored as float16.
    """
    model_reader, adapter_reader = GGUFReader(base), GGUFReader(adapter)
    factors = {tensor.name: tensor.data.astype(np.float32) for tensor in adapter_reader.tensors}
    alpha = float(adapter_reader.fields[ALPHA].contents())
    architecture = str(model_reader.fields["general.architecture"].contents())
    writer = GGUFWriter(merged, architecture)
    _copy_metadata(model_reader, writer)
    for tensor in model_reader.tensors:
        if f"{tensor.name}.lora_a" not in factors:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
            continue
        lora_a = factors[f"{tensor.name}.lora_a"]
        lora_b = factors[f"{tensor.name}.lora_b"]
        rank = len(lora_a)
        weights = dequantize(tensor.data, tensor.tensor_type) + alpha / rank * (lora_b @ lora_a)
        writer.add_tensor(tensor.name, weights.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _copy_metadata(reader: GGUFReader, writer: GGUFWriter) -> None:
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue  # written by GGUFWriter itself
        value_type = field.types[0]
        element_type = field.types[-1] if value_type is GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), value_type, sub_type=element_type)
