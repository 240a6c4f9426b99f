"""Put first on PYTHONPATH: every attempt of a Python process to reach a network is written down, and refused."""

import os
import sys

_EVENTS = {
    "socket.connect",
    "socket.bind",
    "socket.sendto",
    "socket.sendmsg",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.gethostbyaddr",
    "urllib.Request",
    "http.client.connect",
    "ftplib.connect",
    "smtplib.connect",
}
_LOG = os.environ.get("KIDNEYSEG_TEST_NETWORK_LOG")


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event in _EVENTS and _LOG:
        # A socket of the file system is no network.
        address = arguments[1] if event in ("socket.connect", "socket.bind") and len(arguments) > 1 else None
        if isinstance(address, (str, bytes)):
            return
        with open(_LOG, "a") as log:
            log.write(f"{event} {arguments!r:.200}\n")
        raise PermissionError(f"the network is watched: {event}")


sys.addaudithook(_watch)
