"""GGUF files made from another: with some values changed, every weight as it is."""

from pathlib import Path

from gguf import GGUFReader, GGUFValueType, GGUFWriter


def rewritten(base: Path, made: Path, *, template: str = "", architecture: str = "") -> None:
    model = GGUFReader(base)
    writer = GGUFWriter(made, architecture or str(model.fields["general.architecture"].contents()))
    for field in model.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        changed = template and field.name == "tokenizer.chat_template"
        kind = field.types[0]
        of = field.types[-1] if kind is GGUFValueType.ARRAY else None
        value = template if changed else field.contents()
        writer.add_key_value(field.name, value, kind, sub_type=of)
    for tensor in model.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
