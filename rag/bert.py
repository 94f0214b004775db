"""Encoders of the embedded one's kind, run by torch alone: BERT (Devlin et al. 2019), its tokens' mean.

sentence-transformers runs every kind (rag.sentencetransformer), but importing it and transformers takes
seconds that everybody who asks would wait for. Importing this module imports torch.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

Places = Sequence[Sequence[int]]


class Shape(NamedTuple):
    """The numbers of a configuration that the layers are made of."""

    vocabulary: int
    positions: int
    kinds: int
    width: int
    inner_width: int
    layers: int
    heads: int
    epsilon: float


def shape_of(folder: Path) -> Shape | None:
    """The shape of the encoder in a folder; None where it is of another kind than this module runs."""
    try:
        about = _json(folder / "config.json")
        modules = [each["type"].rpartition(".")[2] for each in _json(folder / "modules.json")]
        pooling = _json(folder / "1_Pooling" / "config.json")
        more = _json(folder / "config_sentence_transformers.json")
        plain = {"model_type": "bert", "hidden_act": "gelu"}
        means = [name for name, value in pooling.items() if value is True]
        usual = (
            about.items() >= plain.items()
            and about.get("position_embedding_type", "absolute") == "absolute"
            and modules in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"])
            and means == ["pooling_mode_mean_tokens"]
            and not any(more.get("prompts", {}).values())
            and (folder / "model.safetensors").is_file()
            and (folder / "tokenizer.json").is_file()
        )
        if not usual:
            return None
        names = (
            "vocab_size max_position_embeddings type_vocab_size hidden_size intermediate_size"
            " num_hidden_layers num_attention_heads layer_norm_eps"
        )
        return Shape(*(about[name] for name in names.split()))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


class Bert:
    """The encoder in `folder`, which takes in `longest` tokens of a text at most, its marks included.

    Raises OSError, ValueError and RuntimeError when its files don't fit together.
    """

    def __init__(self, folder: Path, shape: Shape, dimensions: int, longest: int) -> None:
        own: int = _json(folder / "sentence_bert_config.json").get("max_seq_length") or 512
        self.longest = min(own, longest, shape.positions)
        self.width = shape.width
        self.network = Network(shape)
        weights = {
            name.removeprefix("bert."): value
            for name, value in load_file(folder / "model.safetensors").items()
            if "pooler" not in name and "position_ids" not in name
        }
        self.network.load_state_dict(_joined(weights))
        self.network.float().eval()
        self._dimensions = dimensions or shape.width
        file = str(folder / "tokenizer.json")
        self._counter = Tokenizer.from_file(file)
        self._counter.no_truncation()
        self._counter.no_padding()
        self._tokenizer = Tokenizer.from_file(file)
        self._tokenizer.enable_truncation(self.longest)
        self._tokenizer.enable_padding()
        self.marks: int = self._counter.num_special_tokens_to_add(is_pair=False)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text is, marks left out."""
        encoded = self._counter.encode_batch_fast(list(texts), add_special_tokens=False)
        return [len(text.ids) for text in encoded]

    def passage_vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The mean of each text's tokens, shape (texts, dimensions)."""
        _, inside, tokens = self._encoded(texts)
        weights = inside.unsqueeze(-1).float()
        means = (tokens * weights).sum(1) / weights.sum(1).clamp_min(1e-9)
        vectors: NDArray[np.float32] = means[:, : self._dimensions].numpy()
        return vectors

    question_vectors = passage_vectors

    def token_vectors(self, texts: Sequence[str]) -> list[tuple[Places, NDArray[np.float32]]]:
        """Of each text, the places of its tokens and their vectors, marks among them."""
        places, inside, tokens = self._encoded(texts)
        lengths = inside.sum(1).tolist()
        return [
            (place[:length], vectors[:length].numpy())
            for place, vectors, length in zip(places, tokens, lengths, strict=True)
        ]

    def _encoded(self, texts: Sequence[str]) -> tuple[list[Places], Tensor, Tensor]:
        """Places of the tokens; which are a text's own; their vectors, (texts, tokens, width)."""
        encoded = self._tokenizer.encode_batch(list(texts))
        ids = torch.tensor([text.ids for text in encoded])
        inside = torch.tensor([text.attention_mask for text in encoded])
        with torch.inference_mode():
            vectors = self.network(ids, inside.bool()).float()
        return [text.offsets for text in encoded], inside, vectors


def _joined(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights, with those of query, key and value as one layer's: its input is scaled only once."""
    joined = dict(weights)
    for name in [name for name in weights if ".self.query." in name]:
        parts = [joined.pop(name.replace("query", part)) for part in ("query", "key", "value")]
        joined[name.replace("query.", "")] = torch.cat(parts)
    return joined


# The modules are named as the weights are.


class Network(nn.Module):
    """Tokens → their vectors."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embeddings = Embeddings(shape)
        self.encoder = Stack(shape)

    def forward(self, ids: Tensor, inside: Tensor) -> Tensor:
        """`ids` and `inside`, which is false for padding: (texts, tokens)."""
        values: Tensor = self.encoder(self.embeddings(ids), inside[:, None, None, :])
        return values


class Stack(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(shape) for _ in range(shape.layers))

    def forward(self, values: Tensor, seen: Tensor) -> Tensor:
        for layer in self.layer:
            values = layer(values, seen)
        return values


class Table(nn.Embedding):
    def reset_parameters(self) -> None:
        """Leave the weights as they are: random ones would take longer to make than to replace."""


class Embeddings(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.word_embeddings = Table(shape.vocabulary, shape.width)
        self.position_embeddings = Table(shape.positions, shape.width)
        self.token_type_embeddings = Table(shape.kinds, shape.width)
        self.LayerNorm = nn.LayerNorm(shape.width, shape.epsilon)

    def forward(self, ids: Tensor) -> Tensor:
        places = self.position_embeddings.weight[: ids.shape[1]]
        first_kind = self.token_type_embeddings.weight[0]
        values: Tensor = self.LayerNorm(self.word_embeddings(ids) + first_kind + places)
        return values


class Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, inner = shape.width, shape.inner_width
        self._heads = shape.heads
        self.attention = nn.ModuleDict(
            {"self": nn.Linear(width, 3 * width), "output": Added(width, width, shape.epsilon)}
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, inner)})
        self.output = Added(inner, width, shape.epsilon)

    def forward(self, values: Tensor, seen: Tensor) -> Tensor:
        looking: Tensor = self.attention["self"](values)
        query, key, value = (
            part.view(*part.shape[:2], self._heads, -1).transpose(1, 2)
            for part in looking.chunk(3, -1)
        )
        found = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        attended = self.attention["output"](found.transpose(1, 2).flatten(-2), values)
        inner = functional.gelu(self.intermediate["dense"](attended))
        done: Tensor = self.output(inner, attended)
        return done


class Added(nn.Module):
    """A linear layer whose result is added to what came in before, and scaled."""

    def __init__(self, wide: int, width: int, epsilon: float) -> None:
        super().__init__()
        self.dense = nn.Linear(wide, width)
        self.LayerNorm = nn.LayerNorm(width, epsilon)

    def forward(self, values: Tensor, before: Tensor) -> Tensor:
        added: Tensor = self.LayerNorm(self.dense(values) + before)
        return added
