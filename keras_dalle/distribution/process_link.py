"""Holds the processes of a run together: they start together and end together.

Process 0 listens, each other process holds one connection to it. The kernel closes the
connection of a process that dies, and its keepalives find a machine that vanished: so a
lost process is noticed whatever TensorFlow waits for.
"""

import contextlib
import json
import os
import queue
import socket
import sys
import threading
import time
from typing import NoReturn

# A machine that answers nothing is lost after about 40 seconds.
KEEPALIVE_IDLE_SECONDS = 10
KEEPALIVE_INTERVAL_SECONDS = 10
KEEPALIVE_PROBES = 3
# How long a process that is ready to exit waits for the others, which may be writing.
LEAVE_SECONDS = 3600
_LEAVE = "leave"


class ProcessLink:
    """One process's connection with the others.

    What goes wrong ends the process: `os._exit(1)`, after a message on stderr. Threads
    of TensorFlow that wait for a lost process could hold up any other way out.

    Args:
        names: one text a process, to be named in messages.
        index: number of this process.
        host, port: where process 0 listens.
        timeout: seconds that all may take to start.
    """

    def __init__(self, names, index, host, port, timeout):
        self._names = names
        self._index = index
        self._address = host, port
        self._timeout = timeout
        self._sockets: dict[int, socket.socket] = {}
        self._received: dict[int, queue.Queue] = {}
        self._leaving: set[int] = set()
        self._readers: list[threading.Thread] = []
        self._ending = threading.Lock()
        deadline = time.monotonic() + timeout
        if index == 0:
            self._accept_all(deadline)
        else:
            self._connect(deadline)
        for process, connection in self._sockets.items():
            self._received[process] = queue.Queue()
            reader = threading.Thread(
                target=self._read, args=(process, connection), daemon=True
            )
            reader.start()
            self._readers.append(reader)
        self.exchange("start", None)

    @property
    def connections(self) -> dict[str, socket.socket]:
        """The sockets that lead to other processes, by their names."""
        return {self._name(i): connection for i, connection in self._sockets.items()}

    def exchange(self, point, value, timeout=None) -> list:
        """The values of all processes, each of which must come to the same point.

        Args:
            point: name of the point.
            value: what JSON can hold.
            timeout: seconds to wait for the others, or `None`.
        """
        message = {"point": point, "value": value}
        if self._index:
            self._send(0, message)
            return self._next(0, point, timeout)
        values = [value]
        for process in self._received:
            values.append(self._next(process, point, timeout))
        for process in self._sockets:
            self._send(process, {"point": point, "value": values})
        return values

    def leave(self):
        """Waits until every process is ready to exit; process 0 exits last."""
        self.exchange(_LEAVE, None, LEAVE_SECONDS)
        if self._index == 0:
            # It runs TensorFlow's coordination service, which the others need.
            deadline = time.monotonic() + 30
            for reader in self._readers:
                reader.join(max(0.0, deadline - time.monotonic()))

    def fail(self, reason) -> NoReturn:
        """Ends this process and all others, since it `reason`.

        If it failed because another one was lost, the message says so instead: that
        comes by a thread of its own, at the latest in a moment.
        """
        time.sleep(2)
        self.end(f"{self._name(self._index)} {reason}")

    def end(self, reason) -> NoReturn:
        """Ends all processes that are connected to this one, and this one."""
        with self._ending:
            for process in self._sockets:
                self._send(process, {"end": reason})
            print(
                f"This is {self._name(self._index)}. It ends: {reason}",
                file=sys.stderr,
                flush=True,
            )
            sys.stdout.flush()
            os._exit(1)

    def _name(self, process):
        return f"process {process} of {len(self._names)} ({self._names[process]})"

    def _accept_all(self, deadline):
        with socket.create_server(self._address) as server:
            while missing := self._missing():
                server.settimeout(max(0.01, deadline - time.monotonic()))
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    names = ", ".join(map(self._name, missing))
                    self.end(f"{names} did not start within {self._timeout:g} s.")
                self._welcome(connection)

    def _missing(self):
        return [i for i in range(1, len(self._names)) if i not in self._sockets]

    def _welcome(self, connection):
        """Takes in a process of this run; anything else that connects is sent off."""
        connection.settimeout(5)
        try:
            hello = json.loads(_read_line(connection))
            process, names = hello["process"], hello["names"]
        except (OSError, ValueError, KeyError, TypeError):
            connection.close()
            return
        if names != self._names or process not in self._missing():
            error = f"{process} of {names} joined process 0 of {self._names}."
            _send(connection, {"end": error})
            self.end(error)
        _prepare(connection)
        self._sockets[process] = connection

    def _connect(self, deadline):
        while True:
            try:
                connection = socket.create_connection(self._address, timeout=5)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    host, port = self._address
                    self.end(
                        f"{self._name(0)} did not start at {host}:{port} within "
                        f"{self._timeout:g} s: {error}."
                    )
                time.sleep(0.2)
        _prepare(connection)
        self._sockets[0] = connection
        self._send(0, {"process": self._index, "names": self._names})

    def _read(self, process, connection):
        reason = "its connection was closed"
        try:
            with connection.makefile("r", encoding="utf-8") as lines:
                for line in lines:
                    self._receive(process, json.loads(line))
        except (OSError, ValueError) as error:
            reason = str(error)
        if process not in self._leaving:
            self.end(f"{self._name(process)} was lost: {reason}.")

    def _receive(self, process, message):
        if "end" in message:
            self.end(message["end"])
        if message["point"] == _LEAVE:
            self._leaving.add(process)
        self._received[process].put(message)

    def _next(self, process, point, timeout):
        try:
            message = self._received[process].get(timeout=timeout)
        except queue.Empty:
            self.end(f"{self._name(process)} did not come to {point!r} in {timeout} s.")
        if message["point"] != point:
            self.end(
                f"{self._name(process)} came to {message['point']!r} while this one "
                f"came to {point!r}. All must run the same script."
            )
        return message["value"]

    def _send(self, process, message):
        # If the process is lost, the reader of its connection says so.
        with contextlib.suppress(OSError):
            _send(self._sockets[process], message)


def _send(connection, message):
    connection.sendall(json.dumps(message).encode() + b"\n")


def _read_line(connection):
    with connection.makefile("rb", buffering=0) as lines:
        return lines.readline(100_000)


def _prepare(connection):
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE_SECONDS),
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL_SECONDS),
        ("TCP_KEEPCNT", KEEPALIVE_PROBES),
    ):
        if hasattr(socket, option):  # As on Linux.
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
