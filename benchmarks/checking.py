"""Accuracy of the verification of claims: `python benchmarks/checking.py CLAIMS`.

CLAIMS is a JSON Lines file of `claim`, `evidence` and `label`, where the label "Fully attributable"
means that the evidence supports the whole claim.
"""

import sys
from pathlib import Path
from zlib import crc32

from common import rows, table

from rag.answering.loading import build_entailment_model, build_reader
from rag.answering.verify import Verifier
from rag.settings import load
from rag.types import Excerpt, Verdict

FULLY_ATTRIBUTABLE = "Fully attributable"


def main(claims: Path) -> None:
    settings = load()
    verifier = Verifier(build_entailment_model(settings) or build_reader(settings))
    lines = []
    for split in ("tuned", "other"):
        accepted: dict[bool, list[bool]] = {True: [], False: []}
        for row in rows(claims):
            if (crc32(row["id"].encode()) % 2 == 0) == (split == "tuned"):
                text = row["evidence"]
                result = verifier.verify(row["claim"], "", [Excerpt("", "", 0, len(text), text)])
                accepted[row["label"] == FULLY_ATTRIBUTABLE].append(
                    result.verdict is Verdict.SUPPORTED
                )
        true_positive_rate, false_positive_rate = (
            sum(accepted[is_supported]) / len(accepted[is_supported])
            for is_supported in (True, False)
        )
        balanced_accuracy = (true_positive_rate + 1 - false_positive_rate) / 2
        count = str(sum(map(len, accepted.values())))
        lines.append(
            [
                split,
                count,
                f"{true_positive_rate:.3f}",
                f"{false_positive_rate:.3f}",
                f"{balanced_accuracy:.3f}",
            ]
        )
    head = ["split", "claims", "supported, accepted", "others, accepted"]
    print(table([*head, "balanced accuracy"], lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
