"""The chat page: its layout, event handlers, templates, styles and translated texts.

The code that answers questions and the other HTTP endpoints belong in `rag.server`, not here.
"""
