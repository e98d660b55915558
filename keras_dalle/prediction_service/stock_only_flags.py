"""Flags of the stock server that change nothing in the embedded one.

They are accepted with any value, so that one command line fits both servers. Two flags
would promise too much and are refused, unless their value asks for nothing. This module
loads no TensorFlow.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class StockOnlyFlag:
    """A flag without effect.

    Args:
        reason: The reason why it has none.
        is_switch: True if it may be given alone, which means true.
        only: The only value that is accepted; None: any value.
    """

    reason: str
    is_switch: bool = False
    only: str | None = None


_NO_LITE = "there is no TensorFlow Lite"
_XLA = "what a model marks for XLA is compiled"
STOCK_ONLY_FLAGS = {
    "num_load_threads": StockOnlyFlag("versions are loaded one at a time"),
    "num_unload_threads": StockOnlyFlag(
        "a version is unloaded where its last call ends"
    ),
    "flush_filesystem_caches": StockOnlyFlag(
        "the file system's caches are left alone", is_switch=True
    ),
    "remove_unused_fields_from_bundle_metagraph": StockOnlyFlag(
        "only the signatures of a loaded graph's description are kept", is_switch=True
    ),
    "prefer_tflite_model": StockOnlyFlag(_NO_LITE, is_switch=True),
    "num_tflite_pools": StockOnlyFlag(_NO_LITE),
    "num_tflite_interpreters_per_pool": StockOnlyFlag(_NO_LITE),
    "xla_cpu_compilation_enabled": StockOnlyFlag(_XLA, is_switch=True),
    "xla_gpu_compilation_enabled": StockOnlyFlag(_XLA, is_switch=True),
    "enable_profiler": StockOnlyFlag("there is no profiler service", is_switch=True),
    "thread_pool_factory_config_file": StockOnlyFlag(
        "the threads are TensorFlow's own, see --tensorflow_intra_op_parallelism"
    ),
    "skip_initialize_tpu": StockOnlyFlag(
        "there are CPUs and GPUs alone", is_switch=True
    ),
    "use_alts_credentials": StockOnlyFlag(
        "calls are secured by TLS alone, see --ssl_config_file",
        is_switch=True,
        only="false",
    ),
    "platform_config_file": StockOnlyFlag(
        "each setting of a platform has a flag of its own", only=""
    ),
}


def refusal(name: str, value: str) -> str | None:
    """Why a flag of the table is not taken with this value; None where it is."""
    flag = STOCK_ONLY_FLAGS[name]
    if flag.only in (None, value):
        return None
    return (
        f"--{name}={value} is for the stock server alone, since here {flag.reason}. "
        "Leave it out, or run tensorflow_model_server."
    )
