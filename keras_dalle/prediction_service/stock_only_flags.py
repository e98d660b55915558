"""Flags of the stock server that the embedded one cannot follow.

Each is taken at the value that says what the embedded server does anyway, so that one
command line fits both, and refused at any other. Free of TensorFlow.
"""

import dataclasses

TRUE, FALSE = "true", "false"


@dataclasses.dataclass(frozen=True)
class StockOnlyFlag:
    """A flag without a choice.

    Args:
        taken: Its only value; None for a flag that is refused whatever its value.
        instead: What the embedded server does.
    """

    taken: str | None
    instead: str


_SAVED_MODELS = "It serves SavedModels, and nothing of TensorFlow Lite."
_XLA = "It compiles what a model marks for XLA, as if the flag were true."
STOCK_ONLY_FLAGS = {
    "num_load_threads": StockOnlyFlag(
        "0", "It loads one version at a time, beside the calls that run."
    ),
    "num_unload_threads": StockOnlyFlag(
        "0", "It unloads a version where its last call ends."
    ),
    "flush_filesystem_caches": StockOnlyFlag(
        FALSE, "It leaves the file system's caches alone."
    ),
    "use_alts_credentials": StockOnlyFlag(
        FALSE, "It has TLS, with or without client certificates: --ssl_config_file."
    ),
    "platform_config_file": StockOnlyFlag(
        None, "It serves TensorFlow models; each setting has a flag of its own."
    ),
    "remove_unused_fields_from_bundle_metagraph": StockOnlyFlag(
        TRUE, "Of a loaded graph's description it keeps the signatures alone."
    ),
    "prefer_tflite_model": StockOnlyFlag(FALSE, _SAVED_MODELS),
    "num_tflite_pools": StockOnlyFlag(None, _SAVED_MODELS),
    "num_tflite_interpreters_per_pool": StockOnlyFlag(None, _SAVED_MODELS),
    "xla_cpu_compilation_enabled": StockOnlyFlag(TRUE, _XLA),
    "xla_gpu_compilation_enabled": StockOnlyFlag(TRUE, _XLA),
    "enable_profiler": StockOnlyFlag(
        FALSE, "It has no profiler service; benchmarks/ measure it from outside."
    ),
    "thread_pool_factory_config_file": StockOnlyFlag(
        None,
        "Its threads are TensorFlow's own: --tensorflow_intra_op_parallelism and "
        "--tensorflow_inter_op_parallelism.",
    ),
    "skip_initialize_tpu": StockOnlyFlag(TRUE, "It runs on CPUs and GPUs alone."),
}


def refusal(name: str, value: str) -> str | None:
    """Why a flag of the table is not taken with this value; None where it is."""
    flag = STOCK_ONLY_FLAGS[name]
    if flag.taken is not None and value.lower() == flag.taken:
        return None
    given = f"--{name}={value}"
    remedy = (
        "Leave it out" if flag.taken is None else f"Leave it out or give {flag.taken}"
    )
    return (
        f"{given} is for the stock server. The embedded one does otherwise: "
        f"{flag.instead} {remedy}, or run tensorflow_model_server."
    )
