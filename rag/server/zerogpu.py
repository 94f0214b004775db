"""Support for ZeroGPU, on which Spaces of free accounts run.

A ZeroGPU Space is started only if one of its functions may ask for a GPU. Nothing here needs one, so a
function that does nothing is bound to a button that is not visible.
"""

import os
import sys


def prepare() -> None:
    """Import `spaces` on ZeroGPU. To be called before gradio is imported, which `spaces` patches."""
    if not _on_zerogpu():
        return
    # `spaces` patches PyTorch to pretend that all its work is done on a GPU, which needs a CUDA build. It
    # does not patch what it cannot import.
    torch = sys.modules.pop("torch", None)
    sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        import spaces  # noqa: F401
    finally:
        del sys.modules["torch"]
        if torch is not None:
            sys.modules["torch"] = torch


def add_hidden_button() -> None:
    """Add the button to the Gradio blocks that are open, on ZeroGPU."""
    if not _on_zerogpu():
        return
    import gradio as gr
    import spaces

    gr.Button(visible=False).click(spaces.GPU(_do_nothing), api_visibility="private")


def _on_zerogpu() -> bool:
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in {"1", "t", "true"}


def _do_nothing() -> None:
    """Stand in for work on a GPU."""
