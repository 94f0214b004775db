"""Question answering over one index: retrieval, evidence scoring, drafting, verification, citations.

Nothing here reads source files, changes an index or knows who asks; loading weights and calling models
is left to `rag.models`, storage to `rag.store`.
"""
