"""Whatever befalls an index, it opens as of its last commit, and nothing wrong is answered from it."""

import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rag import doctor, indexing
from rag.errors import IndexDamaged, NoIndex, SourceError
from rag.index import PassageIndex

if TYPE_CHECKING:
    from conftest import FakeEncoder, Held, Quiet

BUILD = Path(__file__).with_name("interrupted_build.py")
KILLS = 50
FLIPS = 200
WORDS = ["ferry", "museum", "harbour", "number", "owl"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "news"
    folder.mkdir()
    for i in range(60):
        paragraphs = [f"The ferry number {i} left pier {j} at noon. " * 2 for j in range(12)]
        (folder / f"{i:02}.txt").write_text("\n\n".join(paragraphs))
    (folder / "rows.csv").write_text(
        "id,text\n" + "".join(f"row {i},The museum shows {i} owls.\n" for i in range(200))
    )
    return folder


def found(folder: Path, encoder: "FakeEncoder") -> dict[str, object]:
    """Everything that can be found in an index, hit for hit, whatever its passages' numbers are."""
    with PassageIndex.open(folder) as index:
        near = index.nearest(encoder.encode_question("x"), 10_000)
        passages = dict(zip(near, index.passages(near), strict=True))
        assert len(passages) == index.contents().passages
        matched = {
            word: sorted(
                (passages[number].article_id, passages[number].start, round(score, 5))
                for number, score in index.matching([word], 10_000).items()
            )
            for word in WORDS
        }
        scored = [
            (passage.article_id, passage.start, passage.text, round(near[number], 5))
            for number, passage in passages.items()
        ]
        return {"near": sorted(scored), "matched": matched, "rarity": index.rarity(WORDS)}


@pytest.mark.timeout(900)
def test_a_build_killed_at_fifty_moments_ends_like_one_never_interrupted(
    tmp_path: Path, source: Path, fake_encoder: "type[FakeEncoder]", quiet: "Quiet"
) -> None:
    encoder = fake_encoder()
    indexing.sync(tmp_path / "whole", encoder, [source], rebuild=False, progress=quiet)
    whole = found(tmp_path / "whole", encoder)
    index, moments = tmp_path / "index", random.Random(7)
    command = [sys.executable, str(BUILD), str(index), str(source)]
    killed = 0
    while killed < KILLS:
        with subprocess.Popen(command, stdout=subprocess.PIPE) as build:
            assert build.stdout is not None
            build.stdout.readline()
            time.sleep(moments.uniform(0, 0.8))
            build.kill()
        killed += build.returncode == -signal.SIGKILL
        if not killed % 3:
            lose_what_was_not_synced(index, moments)
        with suppress(NoIndex):
            assert found(index, encoder) == whole
            shutil.rmtree(index)  # it came to its end: from the beginning again
    indexing.sync(index, encoder, [source], rebuild=False, progress=quiet)
    assert found(index, encoder) == whole
    assert doctor.examine(index, encoder, quiet).problems == ()


def lose_what_was_not_synced(index: Path, moments: random.Random) -> None:
    """Cut a file of the unfinished build short, as a power cut may."""
    unfinished = sorted(index.glob("building.sqlite*"))
    if unfinished:
        file = moments.choice(unfinished)
        with file.open("r+b") as cut:
            cut.truncate(moments.randrange(file.stat().st_size + 1))


def test_a_change_killed_at_work_leaves_the_commit_before_it(
    tmp_path: Path, source: Path, fake_encoder: "type[FakeEncoder]", quiet: "Quiet"
) -> None:
    encoder, index = fake_encoder(), tmp_path / "index"
    indexing.sync(index, encoder, [source], rebuild=False, progress=quiet)
    before = found(index, encoder)
    for file in sorted(source.glob("*.txt"))[:30]:
        file.write_text(" ".join(f"Owl {j} sits on pier {file.stem}." for j in range(80)))
    with subprocess.Popen(
        [sys.executable, str(BUILD), str(index), str(source)], stdout=subprocess.PIPE
    ) as build:
        time.sleep(0.2)
        while not (index / "building.sqlite-wal").exists():
            assert build.poll() is None
            time.sleep(0.01)
        time.sleep(0.3)
        build.kill()
    assert build.returncode == -signal.SIGKILL
    assert found(index, encoder) == before
    encoder = fake_encoder()
    indexing.sync(index, encoder, [source], rebuild=False, progress=quiet)
    indexing.sync(tmp_path / "fresh", fake_encoder(), [source], rebuild=False, progress=quiet)
    assert found(index, encoder) == found(tmp_path / "fresh", encoder)


def test_what_an_interrupted_build_has_encoded_is_not_encoded_again(
    tmp_path: Path,
    source: Path,
    fake_encoder: "type[FakeEncoder]",
    quiet: "Quiet",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(indexing, "WINDOW", 16)
    first, second = fake_encoder(fail_after=100), fake_encoder()
    with pytest.raises(KeyboardInterrupt):
        indexing.sync(tmp_path / "i", first, [source], rebuild=False, progress=quiet)
    indexing.sync(tmp_path / "i", second, [source], rebuild=False, progress=quiet)
    kept = set(first.encoded) - set(second.encoded)
    assert len(kept) >= 96, "all but the window that was being encoded"


def test_a_file_whose_reading_was_interrupted_is_read_to_its_end(
    tmp_path: Path,
    fake_encoder: "type[FakeEncoder]",
    quiet: "Quiet",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(indexing, "WINDOW", 16)
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(f'{{"text": "The ferry number {i} sank."}}\n' for i in range(5000)))
    interrupted = fake_encoder(fail_after=1)
    with pytest.raises(KeyboardInterrupt):
        indexing.sync(tmp_path / "i", interrupted, [rows], rebuild=False, progress=quiet)
    summary = indexing.sync(tmp_path / "i", fake_encoder(), [rows], rebuild=False, progress=quiet)
    assert (summary.added, summary.passages) == (5000, 5000)


def test_a_source_can_be_taken_out_after_an_interruption(
    tmp_path: Path, source: Path, fake_encoder: "type[FakeEncoder]", quiet: "Quiet"
) -> None:
    more = tmp_path / "more.txt"
    more.write_text("An owl moved into the town hall.")
    index = tmp_path / "index"
    indexing.sync(index, fake_encoder(), [more], rebuild=False, progress=quiet)
    before = found(index, fake_encoder())
    interrupted = fake_encoder(fail_after=50)
    with pytest.raises(KeyboardInterrupt):
        indexing.sync(index, interrupted, [source], rebuild=False, progress=quiet)
    with pytest.raises(SourceError, match="is no source of this index"):
        indexing.remove(index, fake_encoder(), [source])
    indexing.sync(index, fake_encoder(), [more, source], rebuild=False, progress=quiet)
    indexing.remove(index, fake_encoder(), [source])
    assert found(index, fake_encoder()) == before


def test_a_build_that_was_finished_but_cut_off_before_its_commit_is_taken_up(
    tmp_path: Path,
    source: Path,
    fake_encoder: "type[FakeEncoder]",
    quiet: "Quiet",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    index = tmp_path / "index"
    with monkeypatch.context() as patch:
        patch.setattr("rag.commits.publish", lambda folder, commit: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            indexing.sync(index, fake_encoder(), [source], rebuild=False, progress=quiet)
    with pytest.raises(NoIndex):
        PassageIndex.open(index)
    encoder = fake_encoder(fail_after=0, failure=AssertionError)
    summary = indexing.sync(index, encoder, [source], rebuild=False, progress=quiet)
    assert summary.added == 260


# -- flipped bytes


def test_a_flipped_byte_anywhere_is_found_and_mended_and_never_answered_from(
    tmp_path: Path, source: Path, fake_encoder: "type[FakeEncoder]", quiet: "Quiet", held: "Held"
) -> None:
    encoder, index = fake_encoder(), tmp_path / "index"
    indexing.sync(index, encoder, [source], rebuild=False, progress=quiet)
    right, files, places = found(index, encoder), held(index), random.Random(7)
    assert len(files) == 3
    for flip in range(FLIPS):
        name = sorted(files)[flip % 3]
        damaged = bytearray(files[name])
        place = places.randrange(len(damaged))
        damaged[place] ^= 1 << places.randrange(8)
        where = f"bit flipped in {name} at {place}"
        shutil.rmtree(index)
        index.mkdir()
        for other, content in files.items():
            (index / other).write_bytes(damaged if other == name else content)
        assert answered_rightly(index, encoder, right), where
        findings = doctor.examine(index, encoder, quiet)
        assert findings.problems, where
        assert findings.sound, f"{where}: {findings.verdict}"
        assert found(index, encoder) == right, where
        assert doctor.examine(index, encoder, quiet).problems == (), where


def answered_rightly(folder: Path, encoder: "FakeEncoder", right: dict[str, object]) -> bool:
    """Whether all that is found is right; nothing may be found in what is damaged."""
    try:
        with PassageIndex.open(folder) as index:
            near = index.nearest(encoder.encode_question("x"), 10_000)
            passages = index.passages(near)
    except IndexDamaged:
        return True
    texts = {(id, start, text) for id, start, text, _ in right["near"]}  # type: ignore[attr-defined]
    return {(passage.article_id, passage.start, passage.text) for passage in passages} <= texts


def test_a_flipped_byte_in_an_interrupted_build_never_comes_into_the_index(
    tmp_path: Path,
    source: Path,
    fake_encoder: "type[FakeEncoder]",
    quiet: "Quiet",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(indexing, "WINDOW", 64)
    index, places = tmp_path / "index", random.Random(7)
    indexing.sync(tmp_path / "whole", fake_encoder(), [source], rebuild=False, progress=quiet)
    whole = found(tmp_path / "whole", fake_encoder())
    for _ in range(10):
        shutil.rmtree(index, ignore_errors=True)
        with pytest.raises(KeyboardInterrupt):
            indexing.sync(
                index, fake_encoder(fail_after=600), [source], rebuild=False, progress=quiet
            )
        file = index / "building.sqlite"
        content = bytearray(file.read_bytes())
        content[places.randrange(len(content))] ^= 0x20
        file.write_bytes(content)
        indexing.sync(index, fake_encoder(), [source], rebuild=False, progress=quiet)
        assert found(index, fake_encoder()) == whole
