"""Python runs this at its start when the folder is on PYTHONPATH: it hides packages from the process.

To import one of the modules that NOT_INSTALLED names, separated by spaces, fails as it does where the
module is not installed.
"""

import os
import sys
from typing import Any

_HIDDEN = frozenset(os.environ["NOT_INSTALLED"].split())


class _Hiding:
    """A finder of `sys.meta_path` that does not find the hidden modules."""

    def __init__(self, finder: Any) -> None:
        self._finder = finder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._finder, name)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.partition(".")[0] in _HIDDEN:
            return None
        return self._finder.find_spec(name, path, target)


sys.meta_path[:] = [_Hiding(finder) for finder in sys.meta_path]
