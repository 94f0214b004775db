"""Publishing the chat page: building and uploading a Hugging Face Space.

Serving the page is part of `rag.server`; nothing here runs on the Space itself.
"""
