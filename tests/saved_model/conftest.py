"""A whole tiny model, its export, and a session over it."""

import pytest

from keras_dalle.prediction_service.session import SavedModelSession
from keras_dalle.saved_model.exporter import export_saved_model
from keras_dalle.saved_model.verify import verify_saved_model
from tests.saved_model.signature_calls import SignatureCalls
from tests.tiny_preset import tiny_task


@pytest.fixture(scope="session")
def task():
    return tiny_task()


@pytest.fixture(scope="session")
def reports():
    """What the check of `exported` saw."""
    return []


@pytest.fixture(scope="session")
def exported(task, reports, tmp_path_factory):
    return export_saved_model(
        task,
        tmp_path_factory.mktemp("models"),
        warmup_batch_sizes=[1, 4],
        preset={"name": "tiny", "sha256": None, "license": "Apache-2.0 | other"},
        check=lambda *args: reports.append(verify_saved_model(*args)),
    )


@pytest.fixture(scope="session")
def session(exported):
    session = SavedModelSession(exported)
    yield session
    session.close()


@pytest.fixture(scope="session")
def call(session):
    return SignatureCalls(session)
