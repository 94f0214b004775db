"""`rag deploy space` and `rag password`: publish the chat page, and let users log in to it."""

import sys
from getpass import getpass
from pathlib import Path
from typing import Annotated

import typer

from rag.cli.options import IndexOption
from rag.cli.output import format_upload_size, print_deployment
from rag.errors import UsageError
from rag.settings import load_flags

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command("space")
def deploy_space(
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The Space's name.")],
    articles: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Upload these articles, which the Space indexes."),
    ] = None,
    with_index: Annotated[
        bool, typer.Option("--with-index", help="Upload the index instead, articles included.")
    ] = False,
    index: IndexOption = None,
    private: Annotated[
        bool, typer.Option("--private", help="Make the Space visible to its owner only.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be uploaded, without uploading.")
    ] = False,
) -> None:
    """Create or update a Hugging Face Space with the chat page (by default, with seeds/)."""
    from rag.deploy import space

    if articles and with_index:
        raise UsageError(
            "--articles and --with-index cannot be combined.", remedy="Use one of them."
        )
    deployment = space.build_deployment(name, load_flags(index=index), articles, with_index)
    for notice in deployment.notices:
        print(notice, file=sys.stderr)
    if dry_run:
        print_deployment(deployment, private=private)
        return
    audience = "you only" if private else "everybody"
    size = format_upload_size(deployment)
    print(f"Uploading {size} to {name}, visible to {audience}.", file=sys.stderr)
    print(space.deploy(name, deployment, private))


def password(user: Annotated[str, typer.Argument(metavar="USER", help="The user's name.")]) -> None:
    """Print a line for RAG_SERVER_USERS: the user's name and a hash of the password typed."""
    from rag.server.auth import hash_credentials

    print(hash_credentials(user, read_password()))


def read_password() -> str:
    """Return a password typed twice without echo, or the first line of stdin if that is a pipe.

    Raises:
        UsageError: The two passwords typed differ.
    """
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first, second = getpass("Password: "), getpass("Repeat the password: ")
    if first != second:
        raise UsageError("The two passwords differ.", remedy="Enter the same password both times.")
    return first
