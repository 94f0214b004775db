"""The calibrated refusal threshold of an index, in the file `calibration.json` beside it.

The file is optional. If it is missing, damaged or was made with another encoder, the built-in
threshold applies, and the next `rag index` calibrates again.
"""

import json
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rag.store.snapshot import with_checksum, write_durably
from rag.types import EncoderId

FILE = "calibration.json"

DEFAULT_THRESHOLD = 0.22
"""The best threshold on the question sets of docs/measurements.md."""

_KEY = "calibration"


class Calibration(BaseModel):
    """A calibrated threshold, and what it was calibrated on.

    Attributes:
        encoder: The encoder of the index.
        sources: The sources of the index then.
        passages: The number of passages in the index then.
        questions: The number of generated questions.
        least_score: Score of the best sentence below which a question is refused, 0 to 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: EncoderId
    sources: tuple[str, ...]
    passages: int
    questions: int
    least_score: float = Field(ge=0, le=1)


def read(folder: Path, encoder: EncoderId) -> Calibration | None:
    """Return the calibration of the index in `folder`, if it is undamaged and of this encoder."""
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError, ValidationError):
        content = (folder / FILE).read_bytes()
        calibration = Calibration.model_validate(json.loads(content)[_KEY])
        if calibration.encoder == encoder and with_checksum(_KEY, calibration) == content:
            return calibration
    return None


def write(folder: Path, calibration: Calibration) -> None:
    write_durably(folder / FILE, with_checksum(_KEY, calibration))


def forget(folder: Path) -> None:
    """Delete the calibration, if there is one."""
    (folder / FILE).unlink(missing_ok=True)


def least_score(folder: Path, encoder: EncoderId) -> float:
    """Return the score of the best sentence below which a question is refused, 0 to 1."""
    calibration = read(folder, encoder)
    return calibration.least_score if calibration else DEFAULT_THRESHOLD
