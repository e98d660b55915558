"""Watches over a process while TensorFlow connects it with the others of its run.

TensorFlow holds Python's lock meanwhile, for an hour if one of them is missing, so that
no thread of the process can end it; `guarded` has a small process do so.
"""

import os
import select
import signal
import subprocess
import sys
from contextlib import contextmanager

# Set when the other end of a connection was closed, also with data still to be read.
_CLOSED = getattr(select, "POLLRDHUP", select.POLLHUP)


@contextmanager
def guarded(connections, timeout):
    """Within it, this process is killed when another one is lost, or after a while.

    Args:
        connections: dictionary: name of a process -> the socket that leads to it.
        timeout: seconds.
    """
    descriptors = {
        name: connection.fileno() for name, connection in connections.items()
    }
    arguments = [f"{descriptor}={name}" for name, descriptor in descriptors.items()]
    with subprocess.Popen(
        [sys.executable, __file__, str(os.getpid()), str(timeout), *arguments],
        stdin=subprocess.PIPE,
        pass_fds=list(descriptors.values()),
    ):
        # Leaving closes the guard's input, which ends it, as does the process's end.
        yield


def watch(process, timeout, names) -> None:
    """Kills a process with a message, unless standard input is closed before.

    Args:
        process: its number in the operating system.
        timeout: seconds.
        names: dictionary: file descriptor of a socket -> who is at its other end.
    """
    poll = select.poll()
    poll.register(sys.stdin, select.POLLIN)
    for descriptor in names:
        poll.register(descriptor, _CLOSED)
    found = [descriptor for descriptor, _ in poll.poll(timeout * 1000)]
    if sys.stdin.fileno() in found:
        return
    if found:
        reason = f"{names[found[0]]} was lost while TensorFlow connected all"
    else:
        reason = (
            f"TensorFlow did not connect all processes within {timeout:g} s. Each must "
            f"be able to reach the addresses of: {', '.join(names.values())}"
        )
    print(f"A process of several ends: {reason}.", file=sys.stderr, flush=True)
    os.kill(process, signal.SIGKILL)


if __name__ == "__main__":
    pairs = (argument.split("=", 1) for argument in sys.argv[3:])
    watch(
        int(sys.argv[1]),
        float(sys.argv[2]),
        {int(descriptor): name for descriptor, name in pairs},
    )
