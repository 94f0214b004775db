"""The chat page, for a browser and for a Hugging Face Space; settings come from the environment."""

import sys
from pathlib import Path

from rag import cli, settings, web
from rag.errors import NoIndex, RagError
from rag.index import PassageIndex

ARTICLES = Path("articles")
"""Whatever articles are put here are indexed at every start; without it, the sample articles once."""


def main() -> int:
    try:
        chosen = settings.load()
        bring_in_line(chosen.index)
        web.serve(chosen)
    except RagError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def bring_in_line(index: Path) -> None:
    if ARTICLES.is_dir():
        cli.index_command([ARTICLES])
        return
    try:
        PassageIndex.open(index).close()
    except NoIndex:
        cli.index_command()


if __name__ == "__main__":
    sys.exit(main())
