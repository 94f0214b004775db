"""The `rag` command: its subcommands, their options, and what they print.

Commands parse, call the other packages and print; nothing else is decided here. Heavy libraries are
imported inside the commands that need them, so that `rag --help` stays fast.
"""
