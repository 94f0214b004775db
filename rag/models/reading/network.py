"""Network of the reader and verifier: a BERT encoder with a head for spans and a head for claims.

Devlin et al. 2019, "BERT", section 4.3: the answer to a question is the span between the most probable
start and end, and a passage that does not answer has both at the first token.
"""

from typing import NamedTuple

from torch import Tensor, nn

from rag.models.embedding.minilm import Embeddings, EncoderStack, Shape

CLAIM_LABELS = 3
"""Supported, contradicted, not stated: the order of the claim head's outputs."""


class Readings(NamedTuple):
    """Scores of pairs of a question or claim and a passage.

    Attributes:
        starts: Unnormalised scores of each token to be the answer's first, shape (pairs, tokens).
        ends: Unnormalised scores of each token to be the answer's last, shape (pairs, tokens).
        claims: Unnormalised scores of the claim labels, shape (pairs, CLAIM_LABELS).
    """

    starts: Tensor
    ends: Tensor
    claims: Tensor


class ReadingNetwork(nn.Module):
    """BERT with the two heads.

    Args:
        shape: The shape of the encoder.
        embeddings: The embeddings, which may be shared with an encoder.
    """

    def __init__(self, shape: Shape, embeddings: Embeddings) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.encoder = EncoderStack(shape)
        self.span_head = nn.Linear(shape.hidden_size, 2)
        self.claim_head = nn.Linear(shape.hidden_size, CLAIM_LABELS)

    def forward(self, ids: Tensor, segments: Tensor, mask: Tensor) -> Readings:
        """Score pairs of a question or claim and a passage.

        Args:
            ids: Token ids, shape (pairs, tokens).
            segments: 0 for tokens of the question or claim, 1 for those of the passage, same shape.
            mask: False for padding, same shape.
        """
        states = self.encoder(self.embeddings(ids, segments), mask[:, None, None, :])
        starts, ends = self.span_head(states).unbind(-1)
        return Readings(starts, ends, self.claim_head(states[:, 0]))
