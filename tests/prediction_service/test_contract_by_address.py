"""The contract suite against a server that is somewhere already, by its address."""

import os
import re
import subprocess
import sys

from tests.serving_contract.models import CONFIG_FILE, write_models
from tests.serving_contract.running_server import PATIENCE_S, embedded_server

# All of its files would take a minute more, and run against servers of their own.
FILES = ("test_prediction_service.py", "test_model_service.py")


def test_the_suite_finds_the_server(tmp_path):
    folder = write_models(tmp_path / "models").parent
    with embedded_server(
        f"--model_config_file={folder / CONFIG_FILE}",
        "--allow_version_labels_for_unavailable_models=true",
        "--max_num_load_retries=0",
        "--file_system_poll_wait_seconds=0.2",
    ) as server:
        result = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
            + [f"tests/serving_contract/{file}" for file in FILES],
            env={
                **os.environ,
                "TF_SERVING_ADDRESS": server.grpc_address,
                "TF_SERVING_REST_ADDRESS": server.rest_address,
                "TF_SERVING_MODELS": str(folder),
            },
            capture_output=True,
            text=True,
            timeout=5 * PATIENCE_S,
        )
    assert result.returncode == 0, result.stdout
    assert re.search(r"\d\d passed", result.stdout), result.stdout
    assert "skipped" not in result.stdout
