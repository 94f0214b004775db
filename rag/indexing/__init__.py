"""Building and updating an index from its sources, and repairing it.

How an index is stored and searched belongs in rag.store; how files are read, in rag.sources.
"""
