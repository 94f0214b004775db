"""An index on disk: its SQLite database, its FAISS file, and the snapshots that name them.

Reading, searching, writing, checking and migrating an index belong here. What the articles are and
how they are embedded does not: see rag.sources, rag.models and rag.indexing.
"""
