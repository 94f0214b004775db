"""Models that read two texts together, by sentence-transformers. Nothing is fetched."""

from pathlib import Path
from typing import TYPE_CHECKING

from rag import hub
from rag.errors import ModelError

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder as CrossEncoder


def loaded(folder: Path, job: str) -> "CrossEncoder":
    """The CrossEncoder in `folder`, which the setting RAG_JOB names. Raises ModelError."""
    hub.stay_offline()
    from sentence_transformers import CrossEncoder
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model: CrossEncoder = CrossEncoder(str(folder), device="cpu", local_files_only=True)
        return model
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        why = str(error).splitlines()[0]
        raise ModelError(
            f"The {job} in {folder} cannot be loaded: {why}.", remedy=_remedy(job)
        ) from error


def unfit(folder: Path, job: str, scores: int) -> ModelError:
    """What is wrong with a model that gives another number of scores than its job takes."""
    return ModelError(
        f"The model in {folder} is no {job}: it gives {scores} score{'s' * (scores != 1)}.",
        remedy=_remedy(job),
    )


def _remedy(job: str) -> str:
    return f"Set RAG_{job.upper()} to another one, or leave it out."
