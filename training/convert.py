"""Export of a training checkpoint to the weights file of the reader."""

from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

from training.train import MOMENTS


def export(state: Path, weights: Path) -> None:
    """Write the network's weights in a checkpoint to a file, as float16 and without optimizer state."""
    with safe_open(state, "pt") as checkpoint:
        names = [name for name in list(checkpoint.keys()) if not name.startswith(MOMENTS)]
        save_file({name: checkpoint.get_tensor(name).half() for name in names}, weights)
