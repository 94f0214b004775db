"""The models that come along: found without being imported, and checked before they are used."""

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rag.errors import ModelError
from rag.models import MINILM, SMOLLM2, EmbeddedModel, encoder_folder, generator_file, verify

if TYPE_CHECKING:
    from conftest import WriteProtect

CONTENT = b"these are the weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def verdicts(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def replace_unseen(path: Path, content: bytes) -> None:
    """Other content of the same size, with the same time stamp."""
    stat = path.stat()
    assert len(content) == stat.st_size
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_the_expected_file_passes(weights: Path, verdicts: Path) -> None:
    verify(weights, SHA256, verdicts)


def test_a_changed_weight_file_is_refused_by_name(weights: Path, verdicts: Path) -> None:
    weights.write_bytes(b"these are NOT the weights")
    with pytest.raises(ModelError, match="is not the one expected") as told:
        verify(weights, SHA256, verdicts)
    assert str(weights) in str(told.value)
    assert "\n" not in str(told.value)


def test_a_file_is_read_once_while_it_looks_the_same(weights: Path, verdicts: Path) -> None:
    verify(weights, SHA256, verdicts)
    replace_unseen(weights, CONTENT[::-1])
    verify(weights, SHA256, verdicts)  # only a reading could tell


def test_a_new_time_stamp_calls_for_a_new_check(weights: Path, verdicts: Path) -> None:
    verify(weights, SHA256, verdicts)
    replace_unseen(weights, CONTENT[::-1])
    os.utime(weights, ns=(0, 0))
    with pytest.raises(ModelError, match="is not the one expected"):
        verify(weights, SHA256, verdicts)


def test_a_verdict_holds_for_its_own_file_only(weights: Path, verdicts: Path) -> None:
    verify(weights, SHA256, verdicts)
    other = weights.with_name("other.safetensors")
    other.write_bytes(CONTENT[::-1])
    stat = weights.stat()
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(ModelError, match="is not the one expected"):
        verify(other, SHA256, verdicts)


def test_a_refusal_is_not_kept_as_a_verdict(weights: Path, verdicts: Path) -> None:
    for _ in range(2):
        with pytest.raises(ModelError, match="is not the one expected"):
            verify(weights, "0" * 64, verdicts)


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe\0"], ids=["empty", "cut off", "binary"])
def test_a_damaged_verdict_is_made_again(weights: Path, verdicts: Path, damage: bytes) -> None:
    verify(weights, SHA256, verdicts)
    (verdict,) = (verdicts / "verified").iterdir()
    sound = verdict.read_bytes()
    verdict.write_bytes(damage)
    verify(weights, SHA256, verdicts)
    assert verdict.read_bytes() == sound


def test_a_missing_weight_file_is_told(weights: Path, verdicts: Path) -> None:
    weights.unlink()
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        verify(weights, SHA256, verdicts)


def test_a_cache_that_is_a_file_is_told_in_one_line(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("not a folder")
    with pytest.raises(ModelError, match=r"cache file .* cannot be written") as told:
        verify(weights, SHA256, tmp_path / "taken")
    assert "RAG_CACHE" in told.value.remedy
    assert "\n" not in str(told.value)


def test_a_read_only_cache_is_told_in_one_line(weights: Path, read_only: Path) -> None:
    with pytest.raises(ModelError, match=r"cache file .* cannot be written") as told:
        verify(weights, SHA256, read_only)
    assert "\n" not in str(told.value)


@pytest.fixture
def read_only(small_disk: Path, write_protect: "WriteProtect") -> Iterator[Path]:
    write_protect(small_disk)
    return small_disk


def test_embedded_models_are_found_without_being_imported(cache: Path) -> None:
    assert (encoder_folder(MINILM.name, cache) / "modules.json").is_file()
    assert generator_file(SMOLLM2.name, cache).is_file()
    assert not {MINILM.package, SMOLLM2.package} & set(sys.modules)


def test_a_package_that_is_not_installed_is_named() -> None:
    missing = EmbeddedModel("Tiny", "no_such_package_here", "weights", "0" * 64)
    with pytest.raises(ModelError, match="model Tiny, no_such_package_here, is not installed"):
        missing.locate()


@pytest.mark.parametrize(
    ("find", "variable"),
    [(encoder_folder, "RAG_ENCODER"), (generator_file, "RAG_GENERATOR")],
    ids=["encoder", "generator"],
)
def test_an_unknown_model_is_told_with_the_known_one(
    find: "type[Path]", variable: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="'nowhere' is neither") as told:
        find("nowhere", tmp_path)
    assert variable in told.value.remedy


@pytest.mark.parametrize(
    ("find", "name", "variable"),
    [
        (encoder_folder, "nowhere/model", "RAG_ENCODER"),
        (generator_file, "nowhere/model:file.gguf", "RAG_GENERATOR"),
        (generator_file, "OCC-RAG-0.6B", "RAG_GENERATOR"),
    ],
)
def test_a_model_of_the_hub_that_is_not_here_is_told_with_what_fetches_it(
    find: "type[Path]", name: str, variable: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="is not on this machine") as told:
        find(name, tmp_path)
    assert f"`rag models pull {name}`" in told.value.remedy
    assert variable in told.value.remedy


def test_a_model_for_another_job_is_told_by_its_job(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is a generator, not an encoder"):
        encoder_folder("Qwen3-4B-Instruct-2507", tmp_path)


def test_an_encoder_of_ones_own_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("[]")
    assert encoder_folder(str(tmp_path), tmp_path) == tmp_path
