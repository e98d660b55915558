"""A process of several that add up numbers with DTensor until they are ended.

`python -m tests.distribution.process_loop TIMEOUT [STEPS]`
"""

import sys

import numpy as np
import tensorflow as tf

from keras_dalle.distribution import process_link
from keras_dalle.distribution.mesh import create_mesh, layout, rows_to_mesh, to_host
from keras_dalle.distribution.process_rows import process_shard
from keras_dalle.distribution.processes import is_first_process, join

# A machine that answers nothing is lost after 3 seconds.
process_link.KEEPALIVE_IDLE_SECONDS = 1
process_link.KEEPALIVE_INTERVAL_SECONDS = 1
process_link.KEEPALIVE_PROBES = 2


def main():
    with join(cpu_devices=2, timeout=float(sys.argv[1])):
        mesh = create_mesh({"batch": 4, "model": 1}, "CPU")
        by_rows = layout(mesh, ("batch", None))
        total = tf.function(tf.reduce_sum)
        shard = process_shard(mesh)
        step = 0
        while len(sys.argv) == 2 or step < int(sys.argv[2]):
            step += 1
            rows = np.full((2, 3), shard[1] + step, "float32")
            result = float(to_host(total(rows_to_mesh(rows, by_rows, shard))))
            print(f"Step {step}: {result}", flush=True)
        if "fail" in sys.argv and not is_first_process():
            raise RuntimeError("as the test wants it")


if __name__ == "__main__":
    main()
