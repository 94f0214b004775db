"""Python runs this at its start when the folder is on PYTHONPATH: it keeps the process on this machine.

Whatever asks for another host is refused, and noted in the file that LEFT names.
"""

import os
import sys

LOOPBACK = {"127.0.0.1", "::1", "localhost", "0.0.0.0", "", None}


def _refuse(event: str, details: tuple[object, ...]) -> None:
    if event == "socket.getaddrinfo":
        host = details[0]
    elif event in {"socket.connect", "socket.sendto"} and isinstance(details[1], tuple):
        host = details[1][0]
    else:
        return
    if isinstance(host, bytes):
        host = host.decode()
    if host not in LOOPBACK:
        with open(os.environ["LEFT"], "a") as file:  # noqa: PTH123 (as little as can be is imported)
            file.write(f"{event} {host}\n")
        raise OSError(f"{host} is not this machine")


sys.addaudithook(_refuse)
