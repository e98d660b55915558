import pytest
from tensorflow_serving.apis import model_pb2

from keras_dalle.prediction_service.errors import ServingError
from keras_dalle.prediction_service.servables import Servable, Servables, load_latest


@pytest.fixture
def servables():
    servables = Servables()
    for version in (3, 11):
        servables.add(Servable("m", version, session=None))
    return servables


def spec(**fields):
    version = fields.pop("version", None)
    spec = model_pb2.ModelSpec(**fields)
    if version is not None:
        spec.version.value = version
    return spec


def test_latest_is_the_highest_number(servables):
    assert servables.find(spec(name="m")).version == 11


def test_a_version_by_number(servables):
    assert servables.find(spec(name="m", version=3)).version == 3


def test_version_zero_is_not_the_latest(servables):
    with pytest.raises(ServingError, match=r"Specific\(m, 0\)"):
        servables.find(spec(name="m", version=0))


def test_all_versions_have_a_status(servables):
    assert servables.versions(spec(name="m")) == [11, 3]


def test_highest_version_is_loaded_by_number_not_by_text(base_path):
    (base_path / ".export-x").mkdir(exist_ok=True)
    servable = load_latest("m", base_path)
    assert (servable.name, servable.version) == ("m", 12)
    servable.session.close()
