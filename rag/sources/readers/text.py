"""Plain text and Markdown, which may start with YAML front matter."""

import re
from collections.abc import Mapping
from typing import Any

from rag.sources.articles import build_article
from rag.sources.content import ArticleIterator, Content, UnreadableFile
from rag.wording import phrase

_FRONT_MATTER = re.compile(r"---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#{1,6}[ \t]+(.+?)[ \t#]*\r?$", re.MULTILINE)

# libyaml recurses on the stack: much longer front matter could overflow it.
_MAX_FRONT_MATTER_LENGTH = 10_000


def read_text(content: Content) -> ArticleIterator:
    """Read a text file as one article."""
    metadata, text = _split_front_matter(content.read_text())
    yield build_article(content.name, {**metadata, "text": text})


def read_markdown(content: Content) -> ArticleIterator:
    """Read a Markdown file as one article; the default title is its first heading."""
    metadata, text = _split_front_matter(content.read_text())
    heading = _HEADING.search(text)
    if heading and not metadata.get("title"):
        metadata = {**metadata, "title": heading.group(1)}
    yield build_article(content.name, {**metadata, "text": text})


def _split_front_matter(text: str) -> tuple[Mapping[str, Any], str]:
    front_matter = _FRONT_MATTER.match(text)
    if not front_matter:
        return {}, text
    return _parse_front_matter(front_matter.group(1)), text[front_matter.end() :]


def _parse_front_matter(front_matter: str) -> Mapping[str, Any]:
    import yaml

    if len(front_matter) > _MAX_FRONT_MATTER_LENGTH:
        raise UnreadableFile(phrase("front_matter_too_long", limit=_MAX_FRONT_MATTER_LENGTH))
    try:
        # BaseLoader makes no objects, and keeps every scalar a string: a date stays as written.
        metadata = yaml.load(front_matter, Loader=yaml.CBaseLoader)  # noqa: S506
    except (yaml.YAMLError, RecursionError) as error:
        problem = str(getattr(error, "problem", None) or "nested too deeply")
        raise UnreadableFile(phrase("invalid_yaml", problem=problem)) from None
    if not isinstance(metadata, dict):
        raise UnreadableFile(phrase("front_matter_not_mapping"))
    return metadata
