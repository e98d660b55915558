"""The server of the suite: embedded ones, or the one at TF_SERVING_ADDRESS."""

import os
from pathlib import Path

import pytest

from tests.serving_contract.models import CONFIG_FILE, write_models
from tests.serving_contract.running_server import RunningServer, embedded_server

# host:port of a server's gRPC; of its REST API (default: port 8501 of the same host);
# and the folder that `python -m tests.serving_contract.models` wrote, where both can
# see it.
ADDRESS = os.environ.get("TF_SERVING_ADDRESS")
REST_ADDRESS = os.environ.get("TF_SERVING_REST_ADDRESS")
FOLDER = os.environ.get("TF_SERVING_MODELS")
KINDS = {
    "embedded": (),
    "batching": ("--enable_batching", "--file_system_poll_wait_seconds=0.2"),
}


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """The folder of the models, or None where the server's is not in sight."""
    if ADDRESS is not None:
        return None if FOLDER is None else Path(FOLDER)
    return write_models(tmp_path_factory.mktemp("contract") / "models").parent


@pytest.fixture(scope="session", params=["stock"] if ADDRESS else list(KINDS))
def server(request, models, tmp_path_factory):
    if ADDRESS is not None:
        rest = REST_ADDRESS or f"{ADDRESS.rpartition(':')[0]}:8501"
        yield RunningServer(ADDRESS, rest, models)
        return
    monitoring = tmp_path_factory.mktemp("config") / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")
    with embedded_server(
        f"--model_config_file={models / CONFIG_FILE}",
        f"--monitoring_config_file={monitoring}",
        "--allow_version_labels_for_unavailable_models=true",
        "--max_num_load_retries=0",
        *KINDS[request.param],
        folder=models,
    ) as server:
        yield server
