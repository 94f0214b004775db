"""Readers: one module for each file format, which turns a `Content` into articles.

A reader is a function from `rag.sources.content.Content` to an iterator of `Article` and `Skipped`. It
becomes active with a line in `rag.sources.registry`. Readers never import each other: what several of
them need is in `rag.sources.articles`, `rag.sources.content` or `rag.sources.markup`.

Libraries are imported inside the functions that need them, so that plain text costs none of them. No
library is ever given a URL, and XML is parsed without entities, DTDs and the network.
"""
