"""The chat page.

`page` says what stands on it and what happens when it is used; `rendering` fills the templates;
`desk` holds the chatbot behind it; `conversations` what was asked; `serving` launches it.
"""

from rag.web.serving import serve

__all__ = ["serve"]
