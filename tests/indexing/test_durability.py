"""Durability: an index survives kills and damage, and damaged data is never returned."""

import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from fakes import FakeEncoder, SilentProgress
from fixture_types import Attacks, IndexBytes

from rag.errors import IndexDamaged, NoIndex, SourceError
from rag.indexing import repair
from rag.indexing.sync import remove, sync
from rag.store.reader import IndexReader

BUILD = Path(__file__).parents[1] / "interrupted_build.py"
KILLS = 50
FLIPS = 200
FLIPS_IN_A_BUILD = 10
"""Full numbers, as made with `--chaos`."""

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


def contents(folder: Path, encoder: FakeEncoder) -> dict[str, object]:
    """Everything that can be found in an index, independent of the numbers of passages."""
    with IndexReader.open(folder) as index:
        scores = index.vector_search(encoder.encode_question("x"), 10_000)
        passages = dict(zip(scores, index.passages(scores), strict=True))
        assert len(passages) == index.stats().passages
        by_word = {
            word: sorted(
                (passages[number].article_id, passages[number].start, round(score, 5))
                for number, score in index.keyword_search([word], 10_000).items()
            )
            for word in WORDS
        }
        by_vector = [
            (passage.article_id, passage.start, passage.text, round(scores[number], 5))
            for number, passage in passages.items()
        ]
        return {"by_vector": sorted(by_vector), "by_word": by_word, "idf": index.idf(WORDS)}


@pytest.mark.timeout(900)
def test_a_build_killed_many_times_ends_like_one_never_interrupted(
    tmp_path: Path, source: Path, attacks: Attacks
) -> None:
    encoder = FakeEncoder()
    sync(tmp_path / "whole", encoder, [source], rebuild=False, progress=SilentProgress())
    expected = contents(tmp_path / "whole", encoder)
    index, rng = tmp_path / "index", random.Random(7)
    command = [sys.executable, str(BUILD), str(index), str(source)]
    killed = 0
    while killed < attacks(KILLS):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as build:
            assert build.stdout is not None
            build.stdout.readline()
            time.sleep(rng.uniform(0, 0.8))
            build.kill()
        killed += build.returncode == -signal.SIGKILL
        if not killed % 3:
            lose_unsynced_data(index, rng)
        with suppress(NoIndex):
            assert contents(index, encoder) == expected
            shutil.rmtree(index)  # the build was finished: start again
    sync(index, encoder, [source], rebuild=False, progress=SilentProgress())
    assert contents(index, encoder) == expected
    assert repair.diagnose(index, encoder, SilentProgress()).problems == ()


def lose_unsynced_data(index: Path, rng: random.Random) -> None:
    """Truncate a file of the unfinished build, as a power failure may do."""
    unfinished = sorted(index.glob("building.sqlite*"))
    if unfinished:
        file = rng.choice(unfinished)
        with file.open("r+b") as opened:
            opened.truncate(rng.randrange(file.stat().st_size + 1))


def test_a_killed_sync_does_not_change_the_index(tmp_path: Path, source: Path) -> None:
    encoder, index = FakeEncoder(), tmp_path / "index"
    sync(index, encoder, [source], rebuild=False, progress=SilentProgress())
    before = contents(index, encoder)
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
    assert contents(index, encoder) == before
    encoder = FakeEncoder()
    sync(index, encoder, [source], rebuild=False, progress=SilentProgress())
    sync(tmp_path / "fresh", FakeEncoder(), [source], rebuild=False, progress=SilentProgress())
    assert contents(index, encoder) == contents(tmp_path / "fresh", encoder)


def test_the_vectors_of_an_interrupted_build_are_reused(
    tmp_path: Path,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rag.indexing.embed.BATCH_SIZE", 16)
    first, second = FakeEncoder(fail_after=100), FakeEncoder()
    with pytest.raises(KeyboardInterrupt):
        sync(tmp_path / "i", first, [source], rebuild=False, progress=SilentProgress())
    sync(tmp_path / "i", second, [source], rebuild=False, progress=SilentProgress())
    reused = set(first.encoded) - set(second.encoded)
    assert len(reused) >= 96, "all but the batch that was being encoded"


def test_a_file_that_was_being_read_is_read_again_after_an_interruption(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rag.indexing.embed.BATCH_SIZE", 16)
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(f'{{"text": "The ferry number {i} sank."}}\n' for i in range(5000)))
    interrupted = FakeEncoder(fail_after=1)
    with pytest.raises(KeyboardInterrupt):
        sync(tmp_path / "i", interrupted, [rows], rebuild=False, progress=SilentProgress())
    report = sync(tmp_path / "i", FakeEncoder(), [rows], rebuild=False, progress=SilentProgress())
    assert (report.added, report.passages) == (5000, 5000)


def test_a_source_can_be_removed_after_an_interruption(tmp_path: Path, source: Path) -> None:
    more = tmp_path / "more.txt"
    more.write_text("An owl moved into the town hall.")
    index = tmp_path / "index"
    sync(index, FakeEncoder(), [more], rebuild=False, progress=SilentProgress())
    before = contents(index, FakeEncoder())
    interrupted = FakeEncoder(fail_after=50)
    with pytest.raises(KeyboardInterrupt):
        sync(index, interrupted, [source], rebuild=False, progress=SilentProgress())
    with pytest.raises(SourceError, match="is not a source of this index"):
        remove(index, FakeEncoder(), [source])
    sync(index, FakeEncoder(), [more, source], rebuild=False, progress=SilentProgress())
    remove(index, FakeEncoder(), [source])
    assert contents(index, FakeEncoder()) == before


def test_a_finished_build_that_was_not_published_is_resumed(
    tmp_path: Path,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    index = tmp_path / "index"
    with monkeypatch.context() as patch:
        patch.setattr("rag.store.snapshot.publish", lambda folder, snapshot: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            sync(index, FakeEncoder(), [source], rebuild=False, progress=SilentProgress())
    with pytest.raises(NoIndex):
        IndexReader.open(index)
    encoder = FakeEncoder(fail_after=0, failure=AssertionError)
    report = sync(index, encoder, [source], rebuild=False, progress=SilentProgress())
    assert report.added == 260


# -- flipped bits


def test_any_flipped_bit_is_detected_and_repaired_and_never_returned(
    tmp_path: Path, source: Path, index_bytes: IndexBytes, attacks: Attacks
) -> None:
    encoder, index = FakeEncoder(), tmp_path / "index"
    sync(index, encoder, [source], rebuild=False, progress=SilentProgress())
    expected, files, rng = contents(index, encoder), index_bytes(index), random.Random(7)
    assert len(files) == 3
    for flip in range(attacks(FLIPS)):
        name = sorted(files)[flip % 3]
        damaged = bytearray(files[name])
        offset = rng.randrange(len(damaged))
        damaged[offset] ^= 1 << rng.randrange(8)
        where = f"bit flipped in {name} at {offset}"
        shutil.rmtree(index)
        index.mkdir()
        for other, content in files.items():
            (index / other).write_bytes(damaged if other == name else content)
        assert returns_nothing_wrong(index, encoder, expected), where
        report = repair.diagnose(index, encoder, SilentProgress())
        assert report.problems, where
        assert report.sound, f"{where}: {report.verdict}"
        assert contents(index, encoder) == expected, where
        assert repair.diagnose(index, encoder, SilentProgress()).problems == (), where


def returns_nothing_wrong(folder: Path, encoder: FakeEncoder, expected: dict[str, object]) -> bool:
    """Whether all results are correct; a damaged index may raise an error instead."""
    try:
        with IndexReader.open(folder) as index:
            scores = index.vector_search(encoder.encode_question("x"), 10_000)
            passages = index.passages(scores)
    except IndexDamaged:
        return True
    texts = {(id, start, text) for id, start, text, _ in expected["by_vector"]}  # type: ignore[attr-defined]
    return {(passage.article_id, passage.start, passage.text) for passage in passages} <= texts


def test_a_flipped_bit_in_an_interrupted_build_is_never_published(
    tmp_path: Path,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    attacks: Attacks,
) -> None:
    monkeypatch.setattr("rag.indexing.embed.BATCH_SIZE", 64)
    index, rng = tmp_path / "index", random.Random(7)
    sync(tmp_path / "whole", FakeEncoder(), [source], rebuild=False, progress=SilentProgress())
    expected = contents(tmp_path / "whole", FakeEncoder())
    for _ in range(attacks(FLIPS_IN_A_BUILD)):
        shutil.rmtree(index, ignore_errors=True)
        with pytest.raises(KeyboardInterrupt):
            sync(
                index,
                FakeEncoder(fail_after=600),
                [source],
                rebuild=False,
                progress=SilentProgress(),
            )
        file = index / "building.sqlite"
        content = bytearray(file.read_bytes())
        content[rng.randrange(len(content))] ^= 0x20
        file.write_bytes(content)
        sync(index, FakeEncoder(), [source], rebuild=False, progress=SilentProgress())
        assert contents(index, FakeEncoder()) == expected
