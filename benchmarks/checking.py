"""How well the check tells what holds: `python benchmarks/checking.py CLAIMS`.

CLAIMS is a JSON Lines file of `claim`, `evidence` and `label`, of which "Fully attributable" means that
the evidence holds all of the claim.
"""

import sys
from pathlib import Path
from zlib import crc32

from common import rows, table

from rag.citations import judge
from rag.datatypes import Excerpt, Verdict

HOLDS = "Fully attributable"


def main(claims: Path) -> None:
    lines = []
    for half in ("tuned", "other"):
        passed: dict[bool, list[bool]] = {True: [], False: []}
        for row in rows(claims):
            if (crc32(row["id"].encode()) % 2 == 0) == (half == "tuned"):
                text = row["evidence"]
                found = judge(row["claim"], "", [Excerpt("", "", 0, len(text), text)])
                passed[row["label"] == HOLDS].append(found.verdict is Verdict.SUPPORTED)
        kept, let = (sum(passed[holds]) / len(passed[holds]) for holds in (True, False))
        balanced = (kept + 1 - let) / 2
        count = str(sum(map(len, passed.values())))
        lines.append([half, count, f"{kept:.3f}", f"{let:.3f}", f"{balanced:.3f}"])
    head = ["half", "claims", "of what holds, kept", "of the rest, let through"]
    print(table([*head, "balanced accuracy"], lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
