"""MkDocs hook: add README.md and other pages from outside docs/ to the site, and adapt their links."""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "index/README.md": "index-files.md",
    "rag/models/weights/README.md": "reader.md",
    "LICENSE": "LICENSE",
}
"""Path in the repository → path in the site. A page docs/x.md is x.md in the site."""

_LINK = re.compile(r"(\]\()([^)\s#:]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside docs/."""
    for path, uri in PAGES.items():
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite links, which are relative to a file's folder in the repository."""
    sources = {uri: path for path, uri in PAGES.items()}
    uri = page.file.src_uri
    folder = posixpath.dirname(sources.get(uri, f"docs/{uri}"))

    def rewrite(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, link[2]))
        return f"{link[1]}{PAGES.get(path, path.removeprefix('docs/'))}{link[3] or ''})"

    return _LINK.sub(rewrite, markdown)
