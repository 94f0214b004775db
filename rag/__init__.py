"""Footnote: answers from your own articles, each sentence checked against the passage that it cites."""

__version__ = "0.1.0"
