"""Word documents: paragraphs, tables, tracked changes and properties."""

import io
from pathlib import Path
from zipfile import ZipFile

import docx
import pytest
from docx.oxml import parse_xml
from source_files import (
    MORE,
    NEWS,
    build_docx,
    build_zip,
    read_article,
    save_docx,
    skip_reason,
    write_file,
)

from rag.types import Article


def test_a_word_document_gives_its_paragraphs_and_properties(tmp_path: Path) -> None:
    article = read_article(
        write_file(tmp_path, "a.docx", build_docx(NEWS, "", MORE, title="Lost ferry"))
    )
    assert article == Article("a.docx", "Lost ferry", f"{NEWS}\n\n{MORE}", "2021-05-03")


def test_the_default_title_of_a_word_document_is_its_first_heading(tmp_path: Path) -> None:
    document = docx.Document()
    document.add_paragraph(NEWS)
    document.add_heading("Lost ferry", 1)
    assert read_article(write_file(tmp_path, "a.docx", save_docx(document))).title == "Lost ferry"


def test_tables_links_and_insertions_of_a_word_document_are_kept_and_deletions_removed(
    tmp_path: Path,
) -> None:
    document = docx.Document()
    table = document.add_table(2, 2)
    for cell, text in zip(table._cells, ("Ship", "Year", "Ines", "1987"), strict=True):
        cell.text = text
    paragraph = document.add_paragraph("It was ")
    w = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    for change in (
        f'<w:ins {w} w:id="1"><w:r><w:t>never </w:t></w:r></w:ins>',
        f'<w:del {w} w:id="2"><w:r><w:delText>always </w:delText></w:r></w:del>',
        f"<w:hyperlink {w}><w:r><w:t>found</w:t></w:r></w:hyperlink>",
        f"<w:sdt {w}><w:sdtContent><w:r><w:t> again</w:t></w:r></w:sdtContent></w:sdt>",
    ):
        paragraph._p.append(parse_xml(change))
    text = read_article(write_file(tmp_path, "a.docx", save_docx(document))).text
    assert text == "Ship\tYear\n\nInes\t1987\n\nIt was never found again"


def test_a_word_document_without_properties_gets_no_invented_ones(tmp_path: Path) -> None:
    path = write_file(
        tmp_path, "a.docx", remove_part(build_docx(NEWS), "docProps/core.xml", "_rels/.rels")
    )
    assert (read_article(path).title, read_article(path).date) == (NEWS, None)


def remove_part(document: bytes, part: str, relationships: str) -> bytes:
    """Remove a part from an Office document, and the relationship that refers to it."""
    with ZipFile(io.BytesIO(document)) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if name != part}
    xml = files[relationships].decode()
    start = xml.rindex("<Relationship ", 0, xml.index(part))
    end = xml.index("/>", start) + 2
    return build_zip({**files, relationships: xml[:start] + xml[end:]})


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"PK", "it cannot be parsed: File is not a zip file", id="no archive"),
        pytest.param(build_zip({"a.txt": NEWS}), "it cannot be parsed", id="no document"),
        pytest.param(build_docx(), "it contains no text", id="empty"),
    ],
)
def test_an_unreadable_word_document_is_skipped_with_a_reason(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    assert expected in skip_reason(write_file(tmp_path, "a.docx", content))
