"""Entry point of the `rag` command: the application, its commands, and error handling.

JSON goes to stdout, with nothing else there; progress, warnings and errors go to stderr.
"""

import sys

import typer
from typer.exceptions import TyperException

from rag.cli import ask, deploy, evaluate, index, models
from rag.errors import RagError
from rag.models import memory

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 plus the number of SIGINT."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Footnote: ask questions about your own articles, with every answer's citations verified.",
)

app.command("index")(index.index_command)
app.command()(index.doctor)
app.command()(ask.search)
app.command()(ask.ask)
app.command()(ask.check)
app.command("eval")(evaluate.eval_command)
app.command()(ask.chat)
app.command("mcp")(ask.mcp_command)
app.command()(deploy.password)
app.command()(index.info)
app.add_typer(models.app, name="models")
app.add_typer(deploy.app, name="deploy", help="Publish the chat page.")


def main() -> None:
    """Run the command of `sys.argv` and exit; errors of the user become one line on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    try:
        code = app(standalone_mode=False)
    except RagError as error:
        print(f"rag: {error}", file=sys.stderr)
        code = error.exit_code
    except TyperException as error:
        print(f"rag: {error.format_message()} See `rag --help`.", file=sys.stderr)
        code = error.exit_code
    except Exception as error:
        if not memory.is_refused_allocation(error):
            raise
        print(f"rag: There is not enough memory. {memory.MORE_MEMORY}", file=sys.stderr)
        code = 1
    if code == INTERRUPTED:
        print("rag: Interrupted.", file=sys.stderr)
    sys.exit(code or 0)
