"""Selection of llama.cpp's CPU backend, which is compiled in several variants for different CPUs.

The Makefile builds the variants as shared libraries (llama-cpp.cmake). A llama.cpp that was built in
another way has its backend linked in; this counts as a single variant, NATIVE.
"""

import ctypes
import hashlib
import logging
import os
from collections.abc import Collection, Iterator
from importlib.util import find_spec
from pathlib import Path

NATIVE = "native"

_PREFIX = "libggml-cpu-"
_NOT_BACKENDS = ("base", "cpu")
"""Libraries `libggml-NAME.so` that are not GPU backends."""

_loaded = ""


def library_folder() -> Path | None:
    """Return the folder of llama.cpp's libraries, without importing llama-cpp-python."""
    override = os.environ.get("LLAMA_CPP_LIB_PATH")  # which llama-cpp-python respects, too
    if override is not None:
        return Path(override)
    spec = find_spec("llama_cpp")
    return Path(spec.origin).parent / "lib" if spec and spec.origin else None


def library_id() -> str:
    """Return a hash of the CPU backends' files, which identifies the build."""
    build_hash = hashlib.sha256()
    folder = library_folder()
    for file in sorted(folder.glob("libggml-cpu*")) if folder else ():
        build_hash.update(file.name.encode() + file.read_bytes())
    return build_hash.hexdigest()


def variants() -> dict[str, Path]:
    """Return the installed variants, by name; empty if the backend is linked in."""
    folder = library_folder()
    files = sorted(folder.glob(f"{_PREFIX}*.so")) if folder else []
    return {file.stem.removeprefix(_PREFIX): file for file in files}


def load_best() -> str:
    """Load the fastest variant for what this CPU announces; a second call in a process does nothing.

    Returns:
        The variant's name; empty if none suits this CPU.
    """
    *_, loaded = try_variants()
    return loaded


def try_variants(excluded: Collection[str] = (), avoided: Collection[str] = ()) -> Iterator[str]:
    """Load the fastest variant; if one is already loaded in this process, yield only its name.

    Args:
        excluded: Variants that are not tried.
        avoided: Variants that are tried last.

    Yields:
        The name of each variant before it is loaded, since loading it may crash the process. The last
        one is loaded; it is empty if no variant could be loaded.
    """
    global _loaded
    if _loaded:
        yield _loaded
        return
    for name, file in _rank(excluded, avoided):
        yield name
        if file is None or _load(file):
            _loaded = name
            return
    yield ""


def _rank(excluded: Collection[str], avoided: Collection[str]) -> list[tuple[str, Path | None]]:
    """Return the variants in the order in which to try them; no file for one that is linked in."""
    installed = variants()
    scores = {name: score(file) for name, file in installed.items()} or {NATIVE: 1}
    usable = [name for name in scores if scores[name] and name not in excluded]
    ranked = sorted(usable, key=lambda name: (name in avoided, -scores[name]))
    return [(name, installed.get(name)) for name in ranked]


def _load(file: Path) -> bool:
    """Load a variant, and the GPU backends that llama.cpp was built with."""
    from llama_cpp import llama_cpp

    logging.getLogger("llama-cpp-python").setLevel(logging.ERROR)
    # The library object that libllama itself uses: a second copy would have its own backend registry.
    library = llama_cpp._lib
    library.ggml_backend_load.argtypes = [ctypes.c_char_p]
    library.ggml_backend_load.restype = ctypes.c_void_p
    if not library.ggml_backend_load(str(file).encode()):
        return False
    for other in sorted(file.parent.glob("libggml-*.so")):
        if other.stem.removeprefix("libggml-").split("-")[0] not in _NOT_BACKENDS:
            library.ggml_backend_load(str(other).encode())
    return True


def score(file: Path) -> int:
    """Return a variant's own rating of how well it uses this CPU.

    Returns:
        Higher is faster; 0 if the CPU does not announce what the variant needs, or if the file is
        damaged or no backend.
    """
    try:
        rating: int = ctypes.CDLL(str(file)).ggml_backend_score()
    except (OSError, AttributeError):
        return 0
    return rating
