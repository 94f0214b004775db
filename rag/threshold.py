"""How sure an answer must be over one index, as it was calibrated: `calibration.json` beside it.

It is advice: where it is missing, damaged or another encoder's, the built-in threshold holds, and the
next `rag index` makes it again.
"""

import json
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rag.commits import replace_file, sealed
from rag.datatypes import EncoderId

FILE = "calibration.json"

BUILT_IN = 0.5
"""Best on the question sets that it was measured on (docs/measurements.md)."""


class Calibration(BaseModel):
    """What came of questions drafted from the articles of these sources, so many passages then."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: EncoderId
    sources: tuple[str, ...]
    passages: int
    questions: int
    least_score: float = Field(ge=0, le=1)


def read(folder: Path, encoder: EncoderId) -> Calibration | None:
    """The calibration of the index in `folder`, if it is whole and was made with this encoder."""
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError, ValidationError):
        written = (folder / FILE).read_bytes()
        found = Calibration.model_validate(json.loads(written)["calibration"])
        if found.encoder == encoder and sealed("calibration", found) == written:
            return found
    return None


def forget(folder: Path) -> None:
    (folder / FILE).unlink(missing_ok=True)


def write(folder: Path, calibration: Calibration) -> None:
    replace_file(folder / FILE, sealed("calibration", calibration))


def least_score(folder: Path, encoder: EncoderId) -> float:
    """The score of the best sentence below which a question is refused over this index."""
    found = read(folder, encoder)
    return found.least_score if found else BUILT_IN
