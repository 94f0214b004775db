"""Machine-learning models: where their files come from, and everything that loads or calls them.

What is computed from their output (ranking, confidence, verification) belongs to `rag.answering`, and
the stored vectors to `rag.store`.
"""
