"""Ports that are reserved for a server while it loads its models.

Such a port is bound and does not listen. Another server cannot take it, and callers are
refused, so that no probe finds a server that cannot answer yet.
"""

import contextlib
import errno
import socket
from pathlib import Path

# This machine may lack one of the addresses that a host's name stands for.
_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class ReservedPort:
    """A port that nobody else gets until it is released.

    Args:
        host, port: The address of the server; port 0 reserves nothing.
        flag: The flag that chooses the port.

    Raises:
        OSError: The port is in use or not permitted, or there is no such host.
    """

    def __init__(self, host: str, port: int, flag: str):
        try:
            self._sockets = _bound_sockets(host, port) if port else []
        except OSError as error:
            raise OSError(
                f"Cannot listen on {host}:{port}: {error.strerror}. Choose another "
                f"with --{flag}, or --{flag} 0 for any free one."
            ) from error

    def release(self) -> None:
        """Frees the port for the server that listens on it next."""
        for reserved in self._sockets:
            reserved.close()
        self._sockets = []


def check_socket_path(path: Path) -> None:
    """Checks that a server may listen on a UNIX socket.

    Raises:
        OSError: Another server listens there, or there is no such folder.
    """
    if not path.parent.is_dir():
        raise OSError(
            f"--grpc_socket_path must be in a folder that exists. Received: {path}"
        )
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
        if path.exists() and client.connect_ex(str(path)) == 0:
            raise OSError(
                f"Cannot listen on {path}: another server does. Choose another with "
                "--grpc_socket_path."
            )


def _bound_sockets(host: str, port: int) -> list[socket.socket]:
    found = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    sockets: list[socket.socket] = []
    missing = None
    for family, *_, address in found:
        try:
            sockets.append(_bound_socket(family, address))
        except OSError as error:
            if error.errno not in _NO_SUCH_ADDRESS:
                for other in sockets:
                    other.close()
                raise
            missing = error
    if missing is not None and not sockets:
        raise missing
    return sockets


def _bound_socket(family: int, address: tuple) -> socket.socket:
    """Binds a socket, also if connections of an earlier server linger on the port.

    Such connections linger for a minute (TIME_WAIT), and only SO_REUSEADDR allows the
    bind then. But if we always set it, two servers that load could share one port.
    """
    try:
        return _bind(family, address, reuse=False)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return _bind(family, address, reuse=True)


def _bind(family: int, address: tuple, reuse: bool) -> socket.socket:
    bound = socket.socket(family)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, True)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound
