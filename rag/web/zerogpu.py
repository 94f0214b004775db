"""ZeroGPU: Spaces of free accounts run there, and are started only if something asks for a GPU at times.

Nothing here does. So a function that may ask for one is bound to a button that nobody sees.
"""

import os
import sys


def prepare() -> None:
    """Load `spaces`, where there is a ZeroGPU; before gradio is, which it changes."""
    if not _is_here():
        return
    # It makes all that PyTorch does look like work on a GPU, and takes a build for CUDA for granted.
    # It leaves alone what it does not find.
    torch = sys.modules.pop("torch", None)
    sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        import spaces  # noqa: F401
    finally:
        del sys.modules["torch"]
        if torch is not None:
            sys.modules["torch"] = torch


def offer() -> None:
    """Add the button to the blocks that are open, where there is a ZeroGPU."""
    if not _is_here():
        return
    import gradio as gr
    import spaces

    gr.Button(visible=False).click(spaces.GPU(_nothing), api_visibility="private")


def _is_here() -> bool:
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in {"1", "t", "true"}


def _nothing() -> None:
    """What would be done on the GPU."""
