"""Bundled models: located without being imported, and verified before use."""

import hashlib
import os
import sys
from pathlib import Path

import pytest
from fixture_types import WriteProtect

from rag.errors import ModelError
from rag.models.resolve import (
    MINILM,
    SMOLLM2,
    EmbeddedModel,
    encoder_folder,
    generator_file,
    verify,
)

CONTENT = b"these are the weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def record_folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def replace_undetectably(path: Path, content: bytes) -> None:
    """Write other content of the same size, and restore the modification time."""
    stat = path.stat()
    assert len(content) == stat.st_size
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_the_expected_file_passes(weights: Path, record_folder: Path) -> None:
    verify(weights, SHA256, record_folder)


def test_a_changed_file_is_rejected_and_named(weights: Path, record_folder: Path) -> None:
    weights.write_bytes(b"these are NOT the weights")
    with pytest.raises(ModelError, match="has an unexpected SHA-256") as error:
        verify(weights, SHA256, record_folder)
    assert str(weights) in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unchanged_file_is_read_only_once(weights: Path, record_folder: Path) -> None:
    verify(weights, SHA256, record_folder)
    replace_undetectably(weights, CONTENT[::-1])
    verify(weights, SHA256, record_folder)  # only reading the file would show the change


def test_a_new_modification_time_causes_a_new_check(weights: Path, record_folder: Path) -> None:
    verify(weights, SHA256, record_folder)
    replace_undetectably(weights, CONTENT[::-1])
    os.utime(weights, ns=(0, 0))
    with pytest.raises(ModelError, match="has an unexpected SHA-256"):
        verify(weights, SHA256, record_folder)


def test_a_cached_result_is_valid_for_one_file_only(weights: Path, record_folder: Path) -> None:
    verify(weights, SHA256, record_folder)
    other = weights.with_name("other.safetensors")
    other.write_bytes(CONTENT[::-1])
    stat = weights.stat()
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(ModelError, match="has an unexpected SHA-256"):
        verify(other, SHA256, record_folder)


def test_a_failed_check_is_not_cached(weights: Path, record_folder: Path) -> None:
    for _ in range(2):
        with pytest.raises(ModelError, match="has an unexpected SHA-256"):
            verify(weights, "0" * 64, record_folder)


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe\0"], ids=["empty", "cut off", "binary"])
def test_a_damaged_cached_result_is_replaced(
    weights: Path, record_folder: Path, damage: bytes
) -> None:
    verify(weights, SHA256, record_folder)
    (record,) = (record_folder / "verified").iterdir()
    intact = record.read_bytes()
    record.write_bytes(damage)
    verify(weights, SHA256, record_folder)
    assert record.read_bytes() == intact


def test_a_missing_file_is_an_error(weights: Path, record_folder: Path) -> None:
    weights.unlink()
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        verify(weights, SHA256, record_folder)


def test_a_cache_that_is_a_file_is_a_one_line_error(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("not a folder")
    with pytest.raises(ModelError, match=r"cache file .* cannot be written") as error:
        verify(weights, SHA256, tmp_path / "taken")
    assert "RAG_CACHE" in error.value.remedy
    assert "\n" not in str(error.value)


def test_a_read_only_cache_is_a_one_line_error(weights: Path, read_only_folder: Path) -> None:
    with pytest.raises(ModelError, match=r"cache file .* cannot be written") as error:
        verify(weights, SHA256, read_only_folder)
    assert "\n" not in str(error.value)


@pytest.fixture
def read_only_folder(small_disk: Path, write_protect: WriteProtect) -> Path:
    write_protect(small_disk)
    return small_disk


def test_bundled_models_are_located_without_being_imported(cache: Path) -> None:
    assert (encoder_folder(MINILM.name, cache) / "modules.json").is_file()
    assert generator_file(SMOLLM2.name, cache).is_file()
    assert not {MINILM.package, SMOLLM2.package} & set(sys.modules)


def test_a_missing_package_is_named() -> None:
    missing = EmbeddedModel("Tiny", "no_such_package_here", "weights", "0" * 64)
    with pytest.raises(
        ModelError, match="no_such_package_here, which contains Tiny, is not installed"
    ):
        missing.locate()


@pytest.mark.parametrize(
    ("find", "variable"),
    [(encoder_folder, "RAG_ENCODER"), (generator_file, "RAG_GENERATOR")],
    ids=["encoder", "generator"],
)
def test_the_error_for_an_unknown_model_names_the_setting(
    find: "type[Path]", variable: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="'nowhere' is neither") as error:
        find("nowhere", tmp_path)
    assert variable in error.value.remedy


@pytest.mark.parametrize(
    ("find", "name", "variable"),
    [
        (encoder_folder, "nowhere/model", "RAG_ENCODER"),
        (generator_file, "nowhere/model:file.gguf", "RAG_GENERATOR"),
        (generator_file, "OCC-RAG-0.6B", "RAG_GENERATOR"),
    ],
)
def test_the_error_for_a_missing_hub_model_names_the_pull_command(
    find: "type[Path]", name: str, variable: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="is not on this machine") as error:
        find(name, tmp_path)
    assert f"`rag models pull {name}`" in error.value.remedy
    assert variable in error.value.remedy


def test_a_model_with_another_role_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is a generator, not an encoder"):
        encoder_folder("Qwen3-4B-Instruct-2507", tmp_path)


def test_a_users_own_encoder_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("[]")
    assert encoder_folder(str(tmp_path), tmp_path) == tmp_path
