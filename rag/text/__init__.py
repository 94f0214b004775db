"""Text processing without models: sentences, words and stems, dates, and the chunking of articles.

Retrieval, evidence scoring and citation checks share these functions, so that a sentence or a word is
the same everywhere. Nothing here reads files, knows the index or loads a model.
"""
