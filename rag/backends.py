"""llama.cpp's arithmetic, compiled once for each of a few kinds of CPU: which one this process uses.

The Makefile builds these variants as modules (rag/llama-cpp.cmake). A llama.cpp that was built in another
way has its arithmetic linked in, as one variant that is called NATIVE here.
"""

import ctypes
import hashlib
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path

NATIVE = "native"

_PREFIX = "libggml-cpu-"
_NO_BACKENDS = ("base", "cpu")


def library_folder() -> Path | None:
    """Where llama-cpp-python keeps llama.cpp's libraries; the package is not imported."""
    spec = find_spec("llama_cpp")
    return Path(spec.origin).parent / "lib" if spec and spec.origin else None


def library_id() -> str:
    """A hash of the libraries that hold the arithmetic: another build has another one."""
    whole = hashlib.sha256()
    folder = library_folder()
    for file in sorted(folder.glob("libggml-cpu*")) if folder else ():
        whole.update(file.name.encode() + file.read_bytes())
    return whole.hexdigest()


def variants() -> dict[str, Path]:
    """The variants that were built, as modules, by name; none where the arithmetic is linked in."""
    folder = library_folder()
    files = sorted(folder.glob(f"{_PREFIX}*.so")) if folder else []
    return {file.stem.removeprefix(_PREFIX): file for file in files}


def load_best(excluded: Collection[str] = ()) -> str:
    """Load the fastest variant that this CPU announces to support, and is not `excluded`; its name.

    Once per process: a second call changes nothing. The empty string where none is left.
    """
    return _loaded or _load(excluded)


_loaded = ""


def _load(excluded: Collection[str]) -> str:
    global _loaded
    from llama_cpp import llama_cpp

    # Of the libraries that libllama itself uses: a second copy would have a registry of its own.
    library = llama_cpp._lib
    library.ggml_backend_load.argtypes = [ctypes.c_char_p]
    library.ggml_backend_load.restype = ctypes.c_void_p
    built = variants()
    if not built:
        _loaded = "" if NATIVE in excluded else NATIVE
        return _loaded
    best_first = sorted(built, key=lambda name: -score(built[name]))
    for name in best_first:
        if name in excluded or score(built[name]) == 0:
            continue
        if library.ggml_backend_load(str(built[name]).encode()):
            _loaded = name
            _load_devices(library)
            return name
    return ""


def _load_devices(library: ctypes.CDLL) -> None:
    """Load what drives graphics cards, where llama.cpp was built with it."""
    folder = library_folder()
    for file in sorted(folder.glob("libggml-*.so")) if folder else ():
        if file.stem.removeprefix("libggml-").split("-")[0] not in _NO_BACKENDS:
            library.ggml_backend_load(str(file).encode())


def score(module: Path) -> int:
    """How much of this CPU a variant makes use of; 0 for one that needs more than the CPU announces."""
    found: int = ctypes.CDLL(str(module)).ggml_backend_score()
    return found
