"""Entry point of a Hugging Face Space: index the articles, then serve the chat page.

Settings come from the environment.
"""

import sys
from pathlib import Path

from rag import server, settings
from rag.cli.index import index_command
from rag.errors import NoIndex, RagError
from rag.store.reader import IndexReader

ARTICLES = Path("articles")
"""Folder of articles, indexed at every start; without it, the sample articles are indexed once."""


def main() -> int:
    """Run until interrupted, and return the exit code."""
    try:
        app_settings = settings.load()
        sync_index(app_settings.index)
        server.serve(app_settings)
    except RagError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def sync_index(index: Path) -> None:
    """Update the index from the user's articles, or build one of the sample articles if there is none."""
    if ARTICLES.is_dir():
        index_command([ARTICLES])
        return
    try:
        IndexReader.open(index).close()
    except NoIndex:
        index_command()


if __name__ == "__main__":
    sys.exit(main())
