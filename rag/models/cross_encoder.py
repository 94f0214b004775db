"""Loading of sentence-transformers CrossEncoders, models that read two texts together."""

from pathlib import Path
from typing import TYPE_CHECKING

from rag.errors import ModelError
from rag.models import hub

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder as CrossEncoder


def load_cross_encoder(folder: Path, role: str) -> "CrossEncoder":
    """Load the CrossEncoder in `folder`, without network access.

    Args:
        folder: A folder saved by sentence-transformers.
        role: What the model is used for, in the words of the setting that names it (RAG_ROLE).

    Returns:
        The model, on the CPU.

    Raises:
        ModelError: The model cannot be loaded.
    """
    hub.stay_offline()
    from sentence_transformers import CrossEncoder
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model: CrossEncoder = CrossEncoder(str(folder), device="cpu", local_files_only=True)
        return model
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(
            f"The {role} in {folder} cannot be loaded: {reason}.", remedy=_remedy(role)
        ) from error


def wrong_score_count(folder: Path, role: str, scores: int) -> ModelError:
    """Build the error for a model whose number of output scores does not suit its role."""
    plural = "" if scores == 1 else "s"
    return ModelError(
        f"The model in {folder} cannot be used as a {role}: it outputs {scores} score{plural}.",
        remedy=_remedy(role),
    )


def _remedy(role: str) -> str:
    return f"Set RAG_{role.upper()} to another model, or unset it."
