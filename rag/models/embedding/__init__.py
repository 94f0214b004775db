"""The text encoder: embeddings of passages and questions, its fingerprint, and its int8 arithmetic.

Searching the vectors belongs to `rag.store`.
"""
