"""The chat page, for a browser and for a Hugging Face Space; settings come from the environment."""

import sys

from rag import cli, settings, web
from rag.errors import NoIndex, RagError
from rag.index import PassageIndex


def main() -> int:
    try:
        chosen = settings.load()
        try:
            PassageIndex.open(chosen.index).close()
        except NoIndex:
            cli.index_command()
        web.serve(chosen)
    except RagError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
