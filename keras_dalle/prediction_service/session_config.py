"""How TensorFlow is to run: the flags that end in a session's ConfigProto."""

from tensorflow.core.protobuf.config_pb2 import ConfigProto
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig

from keras_dalle.prediction_service.options import BFLOAT16, ServerOptions
from keras_dalle.prediction_service.text_protos import read_text_proto


def session_config(options: ServerOptions) -> ConfigProto:
    """The settings of all sessions: the file's, and over them those of the flags.

    TensorFlow's threads are the process's: the first session's settings hold for them.

    Raises:
        ValueError: The file holds something else.
        OSError: It cannot be read.
    """
    config = ConfigProto()
    if options.tensorflow_session_config_file is not None:
        config = read_text_proto(options.tensorflow_session_config_file, ConfigProto)
    # A GPU is shared with whoever exported the model in the same minute.
    config.gpu_options.allow_growth = True
    config.gpu_options.per_process_gpu_memory_fraction = (
        options.per_process_gpu_memory_fraction
    )
    intra = options.tensorflow_intra_op_parallelism
    inter = options.tensorflow_inter_op_parallelism
    if intra <= 0 and inter <= 0:
        intra = inter = options.tensorflow_session_parallelism
    config.intra_op_parallelism_threads = intra
    config.inter_op_parallelism_threads = inter
    if options.mixed_precision == BFLOAT16:
        rewrites = config.graph_options.rewrite_options
        rewrites.auto_mixed_precision_onednn_bfloat16 = RewriterConfig.ON
    return config
