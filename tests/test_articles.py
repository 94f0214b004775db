"""Reading articles: text exactly as it stands, and a reason for whatever cannot be taken."""

import codecs
import csv
import json
import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.articles import list_files, read
from rag.contents import MAX_ARTICLE_BYTES as MAX
from rag.datatypes import Article, Skipped
from rag.errors import SourceError

NEWS = "the ferry left port ellery at noon , its captain said ."


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def one(path: Path) -> Article:
    (found,) = read(path)
    assert isinstance(found, Article), found
    return found


def reason(path: Path) -> str:
    (found,) = read(path)
    assert isinstance(found, Skipped), found
    return found.reason


# -- files, their ids and titles


def test_ids_are_paths_below_the_source_in_order(tmp_path: Path) -> None:
    for name in ["b.txt", "a/z.md", "a/b/c.txt", "ä.txt"]:
        write(tmp_path, name, NEWS)
    ids = [found.id for found in read(tmp_path) if isinstance(found, Article)]
    assert sorted(ids) == ["a/b/c.txt", "a/z.md", "b.txt", "ä.txt"]
    assert ids == [found.id for found in read(tmp_path) if isinstance(found, Article)]


def test_a_single_file_is_known_by_its_name(tmp_path: Path) -> None:
    assert one(write(tmp_path, "a/b.txt", NEWS)).id == "b.txt"


def test_hidden_files_links_and_pipes_are_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    outside = write(tmp_path, "outside/secret.txt", NEWS)
    write(folder, "seen.txt", NEWS)
    write(folder, ".hidden.txt", NEWS)
    write(folder, ".git/config.txt", NEWS)
    (folder / "link.txt").symlink_to(outside)
    (folder / "linked").symlink_to(outside.parent)
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.txt")
    assert [found.id for found in read(folder) if isinstance(found, Article)] == ["seen.txt"]
    assert len(list(read(folder))) == 1


def test_what_is_left_alone_is_counted(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    write(folder, "in/seen.txt", NEWS)
    write(folder, "in/photo.png", NEWS)
    assert list_files(folder).left_alone == 0
    write(folder, ".hidden.txt", NEWS)
    write(folder, ".git/a.txt", NEWS)
    write(folder, ".git/b.txt", NEWS)
    (folder / "link.txt").symlink_to(folder / "in" / "seen.txt")
    (folder / "linked").symlink_to(folder / "in")
    (folder / "nowhere").symlink_to(tmp_path / "gone")
    os.mkfifo(folder / "in" / "pipe.txt")
    listing = list_files(folder)
    assert [file.name for file in listing.files] == ["in/photo.png", "in/seen.txt"]
    assert listing.left_alone == 6, "a hidden folder counts once"


def test_a_listed_file_tells_when_it_has_changed(tmp_path: Path) -> None:
    path = write(tmp_path, "a/b.txt", NEWS)
    (before,) = list_files(tmp_path).files
    assert (before.name, before.path, before.size) == ("a/b.txt", path, len(NEWS))
    assert list_files(tmp_path).files == [before]
    os.utime(path, ns=(0, before.mtime_ns + 1))
    assert list_files(tmp_path).files != [before]


def test_a_folder_that_cannot_be_listed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(SourceError, match=f"{tmp_path} cannot be read: Permission denied"):
        list_files(tmp_path)


@pytest.mark.parametrize("name", ["photo.png", "notes.doc", "README"])
def test_an_unknown_format_is_skipped_with_the_known_ones_named(tmp_path: Path, name: str) -> None:
    (found,) = read(write(tmp_path, name, NEWS).parent)
    assert isinstance(found, Skipped)
    assert found.path == name
    assert (Path(name).suffix or "without a suffix") in found.reason
    assert all(suffix in found.reason for suffix in (".txt", ".html", ".pdf", ".gz"))


def test_a_suffix_in_capitals_is_the_same_format(tmp_path: Path) -> None:
    assert one(write(tmp_path, "A.TXT", NEWS)).text == NEWS


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=f"{tmp_path}/nowhere is not there"):
        list(read(tmp_path / "nowhere"))


def test_the_first_heading_of_a_markdown_file_is_its_title(tmp_path: Path) -> None:
    path = write(tmp_path, "a.md", f"an opening line\r\n\r\n## Ferry *sinks* ##\r\n{NEWS}")
    assert one(path).title == "Ferry *sinks*"
    assert one(path).text.startswith("an opening line\r\n\r\n## Ferry")


def test_a_hash_in_a_text_file_is_no_heading(tmp_path: Path) -> None:
    assert one(write(tmp_path, "a.txt", "# 1 in sales")).title == "# 1 in sales"


def test_opening_words_are_the_title_where_there_is_none(tmp_path: Path) -> None:
    long = "the  harbour\nboard " + "said again that it would not agree " * 10
    title = one(write(tmp_path, "a.txt", long)).title
    assert title.startswith("the harbour board said again")
    assert title.endswith(" …")
    assert len(title) <= 82
    assert long.replace("  ", " ").replace("\n", " ").startswith(title.removesuffix(" …") + " ")


# -- front matter


def test_front_matter_is_read_and_leaves_the_text(tmp_path: Path) -> None:
    matter = (
        "title: Ferry sinks\ndate: 2021-05-03\nsource: Coast Courier\nurl: http://example.org/1"
    )
    found = one(write(tmp_path, "a.txt", f"---\n{matter}\n---\n  {NEWS}\n"))
    assert found == Article(
        "a.txt", "Ferry sinks", f"  {NEWS}\n", "2021-05-03", "Coast Courier", "http://example.org/1"
    )


def test_front_matter_with_windows_line_ends_and_a_mark(tmp_path: Path) -> None:
    content = f"\ufeff---\r\ntitle: Ferry sinks\r\n---\r\n{NEWS}\r\n"
    found = one(write(tmp_path, "a.md", content))
    assert (found.title, found.text) == ("Ferry sinks", f"{NEWS}\r\n")


@pytest.mark.parametrize(
    "date",
    ["2021-05-03", "2021-5-3", "03.05.2021", "May 2021", "2021", "2021-05-03T10:00:00+02:00"],
)
def test_a_date_stays_as_written(tmp_path: Path, date: str) -> None:
    assert one(write(tmp_path, "a.txt", f"---\ndate: {date}\n---\n{NEWS}")).date == date


@pytest.mark.parametrize(
    ("matter", "said"),
    [
        pytest.param("title: [Ferry", "is not YAML", id="broken"),
        pytest.param("title: a\n\tdate: b", "is not YAML", id="tab"),
        pytest.param("- a\n- b", "does not hold keys and values", id="list"),
        pytest.param("only words", "does not hold keys and values", id="words"),
        pytest.param("a: &a [*a]", "is not YAML", id="alias of itself"),
        pytest.param("a: " + "[" * 3000, "is not YAML", id="nested deeply"),
        pytest.param("a: " + "[" * 200_000, "longer than", id="nested beyond the stack"),
    ],
)
def test_bad_front_matter_is_a_reason(tmp_path: Path, matter: str, said: str) -> None:
    told = reason(write(tmp_path, "a.txt", f"---\n{matter}\n---\n{NEWS}"))
    assert said in told
    assert "\n" not in told


def test_aliases_that_multiply_do_no_harm(tmp_path: Path) -> None:
    bomb = ["a0: &a0 [boom, boom, boom, boom, boom, boom, boom, boom, boom]"]
    bomb += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    path = write(tmp_path, "a.txt", "\n".join(["---", *bomb, "title: *a29", "---", NEWS]))
    tracemalloc.start()
    found = one(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.text == NEWS
    assert found.title == NEWS, "a list is no title"
    assert most < 5_000_000


def test_lines_that_only_look_like_front_matter_are_text(tmp_path: Path) -> None:
    for text in (f"---\n{NEWS}", f"{NEWS}\n---\ntitle: x\n---\n", f"--- a\n{NEWS}\n---\n"):
        assert one(write(tmp_path, "a.txt", text)).text == text


def test_yaml_makes_no_objects(tmp_path: Path) -> None:
    made = tmp_path / "made"
    matter = f"title: !!python/object/apply:os.mkdir ['{made}']"
    list(read(write(tmp_path, "a.txt", f"---\n{matter}\n---\n{NEWS}")))
    assert not made.exists()


# -- rows


def rows(folder: Path, *rows: object, name: str = "rows.jsonl") -> Path:
    return write(folder, name, "".join(json.dumps(row) + "\n" for row in rows))


def test_a_row_of_json_lines_is_an_article(tmp_path: Path) -> None:
    row = {
        "id": "r-1",
        "title": "Ferry\nsinks",
        "text": NEWS,
        "date": "2021",
        "source": "C",
        "url": "u",
    }
    path = rows(tmp_path, row, {"id": 7, "text": NEWS, "more": [1]}, {"text": NEWS, "id": ""})
    first, second, third = read(path)
    assert first == Article("r-1", "Ferry sinks", NEWS, "2021", "C", "u")
    assert isinstance(second, Article)
    assert isinstance(third, Article)
    assert (second.id, third.id) == ("7", "rows.jsonl#3")


def test_a_row_of_csv_is_an_article(tmp_path: Path) -> None:
    path = tmp_path / "in" / "rows.csv"
    path.parent.mkdir()
    text = ' a "quoted" line,\r\nand\nanother\r\n'
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        table = csv.writer(file)
        table.writerows([["id", "title", "text"], ["r1", "T", text], ["", "", NEWS]])
    first, second = read(path.parent)
    assert first == Article("r1", "T", text)
    assert isinstance(second, Article)
    assert second.id == "rows.csv#2"


TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1
).filter(str.strip)


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=4))
def test_a_text_is_stored_exactly_as_read(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("exact")
    rows(folder, *({"text": text} for text in texts))
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["text"], *([text] for text in texts)])
    for number, text in enumerate(texts):
        write(folder, f"utf8-{number}.txt", "\ufeff" + text)
        write(folder, f"utf16-{number}.txt", codecs.BOM_UTF16_BE + text.encode("utf-16-be"))
    by_id = {found.id: found.text for found in read(folder) if isinstance(found, Article)}
    for number, text in enumerate(texts):
        assert by_id[f"rows.jsonl#{number + 1}"] == text
        assert by_id[f"table.csv#{number + 1}"] == text
        assert by_id[f"utf8-{number}.txt"] == text
        assert by_id[f"utf16-{number}.txt"] == text


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"  {NEWS}\n\n ", id="spaces around"),
        pytest.param("one\r\ntwo\rthree\n", id="every line end"),
        pytest.param("Cafe\u0301 A\u030a", id="NFD"),
        pytest.param("Café Å", id="NFC"),
        pytest.param("\u2028\u0085\ufeff x \u200d \U0001f469", id="separators and joiners"),
    ],
)
def test_nothing_in_a_text_is_tidied(tmp_path: Path, text: str) -> None:
    assert one(write(tmp_path, "a.txt", text)).text == text
    assert one(rows(tmp_path, {"text": text})).text == text


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param('{"text": "a"', "not JSON", id="cut off"),
        pytest.param("[1, 2]", "not an object but list", id="list"),
        pytest.param('"text"', "not an object but str", id="string"),
        pytest.param('{"title": "a", "body": "b"}', "only title, body", id="no text"),
        pytest.param("{}", "only nothing", id="nothing"),
        pytest.param('{"text": 5}', "not a string but int", id="number"),
        pytest.param('{"text": null}', "not a string but NoneType", id="null"),
        pytest.param('{"text": " \\n "}', "holds no text", id="white space"),
        pytest.param(
            '{"text": "a\\ud83d"}', "its text holds half a surrogate pair", id="surrogate"
        ),
        pytest.param(
            '{"id": "\\udc00", "text": "a"}',
            "its id holds half a surrogate pair",
            id="id surrogate",
        ),
        pytest.param('{"text": "a\\u0000b"}', "its text holds zero bytes", id="zero"),
        pytest.param("[" * 100_000, "nested too deeply", id="nested"),
        pytest.param(
            f'{{"text": "a", "n": {"9" * 5000}}}', "thousands of digits", id="huge number"
        ),
    ],
)
def test_a_bad_row_is_skipped_with_its_place_and_the_rest_is_read(
    tmp_path: Path, line: str, said: str
) -> None:
    path = write(tmp_path, "r.jsonl", f'{{"text": "before"}}\n{line}\n\n{{"text": "after"}}\n')
    before, bad, after = read(path)
    assert isinstance(bad, Skipped)
    assert bad.path == "r.jsonl#2"
    assert said in bad.reason
    assert isinstance(before, Article)
    assert isinstance(after, Article)
    assert (before.text, after.id, after.text) == ("before", "r.jsonl#4", "after")


def test_half_a_surrogate_pair_in_a_title_becomes_a_question_mark(tmp_path: Path) -> None:
    path = write(tmp_path, "r.jsonl", '{"title": "a\\ud83d", "text": "b"}')
    assert one(path).title == "a?"


@pytest.mark.parametrize(
    ("table", "said"),
    [
        pytest.param("title,body\na,b\n", "only title, body", id="no text column"),
        pytest.param("title,text\na\n", "not a string but NoneType", id="short row"),
        pytest.param('text\n"a" b\n', "not CSV from row 1 on", id="text after a quote"),
        pytest.param('text\n"a\n', "not CSV from row 1 on", id="open quote"),
        pytest.param(b"text\nna\xefve\n", "not UTF-8", id="latin-1"),
        pytest.param(b"text\na\0b\n", "zero bytes", id="zero"),
    ],
)
def test_a_bad_table_is_a_reason(tmp_path: Path, table: str | bytes, said: str) -> None:
    assert said in reason(write(tmp_path, "t.csv", table))


# -- encodings


@pytest.mark.parametrize("name", ["a.txt", "a.md"])
@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        pytest.param(b"", "utf-8", id="UTF-8"),
        pytest.param(codecs.BOM_UTF8, "utf-8", id="UTF-8 with mark"),
        pytest.param(codecs.BOM_UTF16_LE, "utf-16-le", id="UTF-16 LE with mark"),
        pytest.param(codecs.BOM_UTF16_BE, "utf-16-be", id="UTF-16 BE with mark"),
    ],
)
def test_text_is_read_in_every_encoding_that_says_what_it_is(
    tmp_path: Path, mark: bytes, encoding: str, name: str
) -> None:
    text = "Zürich \U0001f6a2\r\n港口\n"
    assert one(write(tmp_path, name, mark + text.encode(encoding))).text == text


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["r.jsonl", "r.csv"])
def test_rows_are_read_in_utf_16_with_a_mark(tmp_path: Path, encoding: str, name: str) -> None:
    lines = "text\nZürich\n港口\n" if name == "r.csv" else '{"text":"Zürich"}\n{"text":"港口"}\n'
    found = list(read(write(tmp_path, name, ("\ufeff" + lines).encode(encoding))))
    assert [row.text for row in found if isinstance(row, Article)] == ["Zürich", "港口"]
    assert len(found) == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param("plain words".encode("utf-16-le"), "zero bytes", id="UTF-16 LE without mark"),
        pytest.param("plain words".encode("utf-16-be"), "zero bytes", id="UTF-16 BE without mark"),
        pytest.param("Zürich".encode("latin-1"), "not UTF-8", id="latin-1"),
        pytest.param(b"\x89PNG\r\n\x1a\n\0\0", "not UTF-8", id="PNG"),
        pytest.param(b"\x7fELF\2\1\1\0\0\0", "zero bytes", id="ELF"),
        pytest.param(codecs.BOM_UTF16_LE + b"a\0b", "not UTF-16", id="UTF-16 cut off"),
        pytest.param(codecs.BOM_UTF32_LE + "a".encode("utf-32-le"), "zero bytes", id="UTF-32"),
        pytest.param(b"\xed\xa0\x80", "not UTF-8", id="surrogate in UTF-8"),
        pytest.param(b"", "no text", id="empty"),
        pytest.param(b"\xef\xbb\xbf \n\t\xc2\xa0", "no text", id="white space"),
        pytest.param(b"---\ntitle: a\n---\n", "no text", id="front matter only"),
    ],
)
def test_what_is_no_text_is_skipped_with_the_reason(
    tmp_path: Path, content: bytes, said: str
) -> None:
    assert said in reason(write(tmp_path, "a.txt", content))


def test_a_file_name_that_is_not_utf_8_is_a_reason(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.txt")).write_text(NEWS)
    assert "its id holds half a surrogate pair" in reason(folder)


# -- size


def huge(path: Path, before: bytes, after: bytes) -> Path:
    """A file with a line of 200 MB (a hole on the disk) between `before` and `after`."""
    with path.open("wb") as file:
        file.write(before)
        file.seek(200_000_000, os.SEEK_CUR)
        file.write(after)
    return path


@pytest.mark.parametrize(
    ("name", "before", "after", "found"),
    [
        pytest.param("a.txt", b"a", b"b", [Skipped], id="text"),
        pytest.param(
            "a.jsonl",
            b'{"text": "one"}\n{"text": "',
            b'"}\n{"text": "three"}\n',
            [Article, Skipped, Article],
            id="JSON Lines",
        ),
        pytest.param("a.csv", b"text\none\n", b"\nthree\n", [Article, Skipped], id="CSV"),
    ],
)
def test_what_is_larger_than_any_article_is_skipped_without_being_held(
    tmp_path: Path, name: str, before: bytes, after: bytes, found: list[type]
) -> None:
    path = huge(tmp_path / name, before, after)
    tracemalloc.start()
    got = list(read(path))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [type(one) for one in got] == found
    (skipped,) = (one for one in got if isinstance(one, Skipped))
    assert f"{MAX:,}" in skipped.reason
    assert most < 6 * MAX, "read in pieces, with a few of them at a time"
