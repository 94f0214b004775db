"""Runs the command line interface: `python -m rag` is the same as `rag`."""

from rag.cli.main import main

main()
