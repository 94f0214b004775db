"""Python processes of our own: readers of files, the language model, measurements that may crash."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO, Any


def start_python(
    code: str,
    argument: Any,
    *,
    handles: Sequence[int] = (),
    stdout: int | IO[bytes] = subprocess.DEVNULL,
    stderr: int | IO[bytes] | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Run `code` in another process of this Python, with the same import path.

    The code finds `argument`, as JSON, in `sys.argv[1]`, and inherits the file descriptors `handles`.
    The process has a session of its own, so that Ctrl-C in the terminal reaches this process alone.
    """
    same_path = f"import sys; sys.path[:] = {sys.path!r}; "
    return subprocess.Popen(  # noqa: S603 (this very program)
        [sys.executable, "-c", same_path + code, json.dumps(argument)],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        pass_fds=handles,
        env=environment,
        start_new_session=True,
    )
