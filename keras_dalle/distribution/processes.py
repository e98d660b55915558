"""Several processes, on one machine or many, that train one model with DTensor."""

import os
import signal
import sys
import threading
import traceback
from contextlib import contextmanager

import tensorflow as tf
from tensorflow.experimental import dtensor

from keras_dalle.distribution.process_guard import guarded
from keras_dalle.distribution.process_link import ProcessLink

_link: ProcessLink | None = None


@contextmanager
def join(device_type=None, cpu_devices=None, timeout=300):
    """Makes this process one of those that train together, while the block runs.

    Environment variables say which one, as DTensor has them: `DTENSOR_JOBS`, the
    addresses `host:port` of all processes, separated by commas; `DTENSOR_CLIENT_ID`,
    which of them this is, from 0; and, if given, `DTENSOR_NUM_CLIENTS`, their number,
    and `DTENSOR_JOB_NAME`. Without `DTENSOR_JOBS` it is alone. The port below that of
    process 0 must be free there.

    All end together: a process that is lost, fails or never starts ends every other
    one with a failed exit status and a message on stderr, and so does an exception
    within the block.

    Args:
        device_type: `"CPU"`, `"GPU"` or `"TPU"`; `None` for the best there is.
        cpu_devices: number of virtual devices to split the CPU into, for tests; `None`
            for `KERAS_DALLE_CPU_DEVICES`, if that is set.
        timeout: seconds that all processes may take to start.

    Raises:
        ValueError: the environment variables do not fit each other.

    Example:
    ```python
    with join():  # before anything else of TensorFlow runs
        placement = distribute(text_to_image, {"batch": 4, "model": 8})
        text_to_image.fit(local_batches(dataset, placement.mesh))
    ```
    """
    global _link
    cpu_devices = cpu_devices or int(os.environ.get("KERAS_DALLE_CPU_DEVICES", 0))
    if cpu_devices:
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * cpu_devices,
        )
    jobs = _checked_jobs()
    if not jobs:
        yield
        return
    host, _, port = jobs[0].rpartition(":")
    _link = ProcessLink(jobs, dtensor.client_id(), host, int(port) - 1, timeout)
    try:
        _initialize(_link, device_type, timeout)
        yield
        _link.leave()
    except BaseException as error:
        traceback.print_exc()
        _link.fail(f"failed: {type(error).__name__}: {error}")
    finally:
        _link = None


def is_first_process() -> bool:
    """Whether this process is the one that writes files, or the only one."""
    return dtensor.client_id() == 0


def check_agreement(what, value) -> None:
    """Checks that all processes have the same value; each must call it.

    Args:
        what: says what it is, with its remedy, such as "`epoch` must be equal".
        value: what JSON can hold.

    Raises:
        ValueError: they differ.
    """
    if _link is None:
        return
    values = _link.exchange(what, value)
    if any(other != value for other in values):
        raise ValueError(f"{what} Received, by process: {values}.")


def _checked_jobs():
    jobs = dtensor.jobs()
    count = os.environ.get("DTENSOR_NUM_CLIENTS", str(len(jobs)))
    if jobs and count != str(len(jobs)):
        raise ValueError(
            f"`DTENSOR_NUM_CLIENTS` (={count}) must be the number of addresses in "
            f"`DTENSOR_JOBS` (={','.join(jobs)})."
        )
    client = os.environ.get("DTENSOR_CLIENT_ID")
    if jobs and client not in [str(index) for index in range(len(jobs))]:
        raise ValueError(
            "`DTENSOR_CLIENT_ID` must be set with `DTENSOR_JOBS`, from 0 to "
            f"{len(jobs) - 1}: which of the addresses {','.join(jobs)} is this "
            f"process's. Received: {client!r}."
        )
    for job in jobs:
        if not job.rpartition(":")[2].isdecimal():
            raise ValueError(
                "`DTENSOR_JOBS` must have the form host:port,host:port. Received: "
                f"{','.join(jobs)}"
            )
    return jobs


def _initialize(link, device_type, timeout):
    """Starts DTensor's client, which waits for all others."""
    with guarded(link.connections, timeout):
        dtensor.initialize_accelerator_system(device_type)
    # TensorFlow's coordination service has taken SIGTERM for itself.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    print(
        f"Process {dtensor.client_id()} of {dtensor.num_clients()} has joined.",
        file=sys.stderr,
        flush=True,
    )
