"""llama.cpp's arithmetic, compiled once for each of a few kinds of CPU: which one this process uses.

The Makefile builds these variants as modules (rag/llama-cpp.cmake). A llama.cpp that was built in another
way has its arithmetic linked in, as one variant that is called NATIVE here.
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
_NO_BACKENDS = ("base", "cpu")


def library_folder() -> Path | None:
    """Where llama-cpp-python takes llama.cpp's libraries from; the package is not imported."""
    elsewhere = os.environ.get("LLAMA_CPP_LIB_PATH")  # which it asks, too
    if elsewhere is not None:
        return Path(elsewhere)
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


def load_best() -> str:
    """Load the fastest variant that this CPU announces to support; its name, empty where there is none.

    Once per process: a second call changes nothing.
    """
    *_, loaded = loading()
    return loaded


_loaded = ""


def loading(excluded: Collection[str] = (), avoided: Collection[str] = ()) -> Iterator[str]:
    """Load the fastest variant that is not `excluded`; those to be `avoided` are tried last.

    Each is named before it is tried, since the CPU may turn out not to run it. The last one is loaded;
    an empty name means that none is left. Once per process, as load_best.
    """
    global _loaded
    if _loaded:
        yield _loaded
        return
    for name, file in _best_first(excluded, avoided):
        yield name
        if file is None or _load(file):
            _loaded = name
            return
    yield ""


def _best_first(
    excluded: Collection[str], avoided: Collection[str]
) -> list[tuple[str, Path | None]]:
    """The variants in the order in which they are to be tried; no file for one that is linked in."""
    built = variants()
    scores = {name: score(file) for name, file in built.items()} or {NATIVE: 1}
    usable = [name for name in scores if scores[name] and name not in excluded]
    ranked = sorted(usable, key=lambda name: (name in avoided, -scores[name]))
    return [(name, built.get(name)) for name in ranked]


def _load(module: Path) -> bool:
    """Load a variant, and what drives graphics cards, where llama.cpp was built with it."""
    from llama_cpp import llama_cpp

    logging.getLogger("llama-cpp-python").setLevel(logging.ERROR)
    # Of the libraries that libllama itself uses: a second copy would have a registry of its own.
    library = llama_cpp._lib
    library.ggml_backend_load.argtypes = [ctypes.c_char_p]
    library.ggml_backend_load.restype = ctypes.c_void_p
    if not library.ggml_backend_load(str(module).encode()):
        return False
    for file in sorted(module.parent.glob("libggml-*.so")):
        if file.stem.removeprefix("libggml-").split("-")[0] not in _NO_BACKENDS:
            library.ggml_backend_load(str(file).encode())
    return True


def score(module: Path) -> int:
    """How much of this CPU a variant makes use of; 0 for one that needs more than the CPU announces.

    0, too, for a file that is no such module, or a damaged one.
    """
    try:
        found: int = ctypes.CDLL(str(module)).ggml_backend_score()
    except (OSError, AttributeError):
        return 0
    return found
