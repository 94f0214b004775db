"""JSON that Gradio's API and the MCP server have in common."""

from collections.abc import Sequence
from typing import Any

from rag.types import Article, Hit


def search_payload(question: str, standalone: str, hits: Sequence[Hit]) -> dict[str, Any]:
    """Return what `rag search --json` prints."""
    return {
        "question": question,
        "standalone_question": standalone,
        "hits": [hit.as_json() for hit in hits],
    }


def article_metadata(article: Article) -> dict[str, Any]:
    """Return an article without its text; fields that it lacks are left out."""
    metadata = {
        "id": article.id,
        "title": article.title,
        "date": article.date,
        "source": article.source,
        "url": article.url,
    }
    return {key: value for key, value in metadata.items() if value is not None}
