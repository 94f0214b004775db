"""BERT encoders with mean pooling (Devlin et al. 2019), such as all-MiniLM-L6-v2, run by torch alone.

sentence-transformers runs every kind of encoder (see `sentence_transformer`), but importing it and
transformers takes seconds, which would delay each command. Importing this module imports torch.
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

MODULES = (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"])
"""The sentence-transformers modules of an encoder that this file can run."""


class Shape(NamedTuple):
    """The values of a BERT configuration that determine its layers, under their names there."""

    vocab_size: int
    max_position_embeddings: int
    type_vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    layer_norm_eps: float


def read_shape(folder: Path) -> Shape | None:
    """Read an encoder's configuration.

    Args:
        folder: The encoder's sentence-transformers folder.

    Returns:
        The encoder's shape; None if it is of a kind that `BertEncoder` does not run.
    """
    try:
        config = _read_json(folder / "config.json")
        modules = [
            module["type"].rpartition(".")[2] for module in _read_json(folder / "modules.json")
        ]
        pooling = _read_json(folder / "1_Pooling" / "config.json")
        prompts = _read_json(folder / "config_sentence_transformers.json").get("prompts", {})
        required = {"model_type": "bert", "hidden_act": "gelu"}
        supported = (
            config.items() >= required.items()
            and config.get("position_embedding_type", "absolute") == "absolute"
            and modules in MODULES
            and [key for key, value in pooling.items() if value is True]
            == ["pooling_mode_mean_tokens"]
            and not any(prompts.values())
            and (folder / "model.safetensors").is_file()
            and (folder / "tokenizer.json").is_file()
        )
        return Shape(*(config[name] for name in Shape._fields)) if supported else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _read_json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


class BertEncoder:
    """An `EmbeddingModel` that runs a BERT encoder with mean pooling.

    Args:
        folder: The encoder's sentence-transformers folder.
        shape: What `read_shape` returns for it.
        dimensions: The length to which vectors are truncated; 0 for all dimensions.
        max_length: The most tokens of a text to read, special tokens included; the encoder's own limit
            applies if it is lower.

    Raises:
        OSError: A file cannot be read.
        ValueError: A file is damaged.
        RuntimeError: The weights do not fit the shape.
    """

    def __init__(self, folder: Path, shape: Shape, dimensions: int, max_length: int) -> None:
        own_limit: int = (
            _read_json(folder / "sentence_bert_config.json").get("max_seq_length") or 512
        )
        self.max_length = min(own_limit, max_length, shape.max_position_embeddings)
        self.dimensions = shape.hidden_size
        self.network = Network(shape)
        self.network.load_state_dict(_fuse_attention_inputs(_load_weights(folder)))
        self.network.float().eval()
        self._truncated_dimensions = dimensions or shape.hidden_size
        tokenizer_file = str(folder / "tokenizer.json")
        self._counter = Tokenizer.from_file(tokenizer_file)
        self._counter.no_truncation()
        self._counter.no_padding()
        self._tokenizer = Tokenizer.from_file(tokenizer_file)
        self._tokenizer.enable_truncation(self.max_length)
        self._tokenizer.enable_padding()
        self.special_tokens: int = self._counter.num_special_tokens_to_add(is_pair=False)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count each text's tokens, without truncation and without special tokens."""
        encodings = self._counter.encode_batch_fast(list(texts), add_special_tokens=False)
        return [len(encoding.ids) for encoding in encodings]

    def passage_vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the mean of each text's token vectors, shape (texts, dimensions)."""
        encodings = self._tokenizer.encode_batch(list(texts))
        ids = torch.tensor([encoding.ids for encoding in encodings])
        mask = torch.tensor([encoding.attention_mask for encoding in encodings])
        with torch.inference_mode():
            vectors = self.network(ids, mask.bool()).float()
        weights = mask.unsqueeze(-1).float()
        means = (vectors * weights).sum(1) / weights.sum(1).clamp_min(1e-9)
        truncated: NDArray[np.float32] = means[:, : self._truncated_dimensions].numpy()
        return truncated

    question_vectors = passage_vectors


def _load_weights(folder: Path) -> dict[str, Tensor]:
    return {
        name.removeprefix("bert."): value
        for name, value in load_file(folder / "model.safetensors").items()
        if "pooler" not in name and "position_ids" not in name
    }


def load_embeddings(folder: Path, shape: Shape) -> "Embeddings":
    """Load the input embeddings of an encoder. Raises the same errors as `BertEncoder`."""
    prefix = "embeddings."
    embeddings = Embeddings(shape)
    embeddings.load_state_dict(
        {
            name.removeprefix(prefix): value
            for name, value in _load_weights(folder).items()
            if name.startswith(prefix)
        }
    )
    return embeddings.float().eval()


def _fuse_attention_inputs(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Join the weights of query, key and value into one layer, so that int8 quantises its input once."""
    fused = dict(weights)
    for name in [name for name in weights if ".self.query." in name]:
        parts = [fused.pop(name.replace("query", part)) for part in ("query", "key", "value")]
        fused[name.replace("query.", "")] = torch.cat(parts)
    return fused


# The attributes of these modules are named as in the weights' file.


class Network(nn.Module):
    """BERT without its pooler."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embeddings = Embeddings(shape)
        self.encoder = EncoderStack(shape)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Compute token vectors.

        Args:
            ids: Token ids, shape (texts, tokens).
            mask: False for padding, shape (texts, tokens).

        Returns:
            Shape (texts, tokens, hidden_size).
        """
        states: Tensor = self.encoder(self.embeddings(ids), mask[:, None, None, :])
        return states


class EncoderStack(nn.Module):
    """The transformer layers."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(shape) for _ in range(shape.num_hidden_layers))

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        for layer in self.layer:
            states = layer(states, mask)
        return states


class UninitialisedEmbedding(nn.Embedding):
    """An embedding table without random initial weights, which would take longer than loading."""

    def reset_parameters(self) -> None:
        pass


class Embeddings(nn.Module):
    """The input embeddings: word, position and token type."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.hidden_size
        self.word_embeddings = UninitialisedEmbedding(shape.vocab_size, width)
        self.position_embeddings = UninitialisedEmbedding(shape.max_position_embeddings, width)
        self.token_type_embeddings = UninitialisedEmbedding(shape.type_vocab_size, width)
        self.LayerNorm = nn.LayerNorm(width, shape.layer_norm_eps)

    def forward(self, ids: Tensor, segments: Tensor | None = None) -> Tensor:
        """Embed tokens; `segments` are their token types, in the shape of `ids`, by default all 0."""
        positions = self.position_embeddings.weight[: ids.shape[1]]
        types = self.token_type_embeddings
        token_types = types.weight[0] if segments is None else types(segments)
        states: Tensor = self.LayerNorm(self.word_embeddings(ids) + token_types + positions)
        return states


class Layer(nn.Module):
    """A transformer layer: self-attention and a feed-forward network."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, inner_width = shape.hidden_size, shape.intermediate_size
        self._heads = shape.num_attention_heads
        self.attention = nn.ModuleDict(
            {
                "self": nn.Linear(width, 3 * width),
                "output": ResidualNorm(width, width, shape.layer_norm_eps),
            }
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, inner_width)})
        self.output = ResidualNorm(inner_width, width, shape.layer_norm_eps)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        projected: Tensor = self.attention["self"](states)
        query, key, value = (
            part.view(*part.shape[:2], self._heads, -1).transpose(1, 2)
            for part in projected.chunk(3, -1)
        )
        heads = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        attended = self.attention["output"](heads.transpose(1, 2).flatten(-2), states)
        inner = functional.gelu(self.intermediate["dense"](attended))
        output: Tensor = self.output(inner, attended)
        return output


class ResidualNorm(nn.Module):
    """A linear layer with a residual connection and layer normalisation."""

    def __init__(self, inputs: int, width: int, epsilon: float) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, width)
        self.LayerNorm = nn.LayerNorm(width, epsilon)

    def forward(self, inputs: Tensor, residual: Tensor) -> Tensor:
        output: Tensor = self.LayerNorm(self.dense(inputs) + residual)
        return output
