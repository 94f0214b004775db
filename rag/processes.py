"""Child processes that run this program's own Python code.

File readers, the language model and CPU measurements run in such processes, because they may crash.
"""

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
    """Start a new process of this Python interpreter, with the same import path, that runs `code`.

    The process gets its own session, so that Ctrl-C in the terminal interrupts only this process.

    Args:
        code: Python source code.
        argument: Any JSON value; the code finds it, encoded, in `sys.argv[1]`.
        handles: File descriptors that the process inherits.
        stdout: Where its output goes, as for `subprocess.Popen`.
        stderr: Where its error output goes; None for this process's own.
        environment: Its environment variables; None for a copy of this process's.

    Returns:
        The running process.

    Raises:
        OSError: No process can be started.
    """
    set_path = f"import sys; sys.path[:] = {sys.path!r}; "
    return subprocess.Popen(  # noqa: S603 (this program's own code)
        [sys.executable, "-c", set_path + code, json.dumps(argument)],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        pass_fds=handles,
        env=environment,
        start_new_session=True,
    )
