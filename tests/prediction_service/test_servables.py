from keras_dalle.prediction_service.servables import Servable
from keras_dalle.prediction_service.session import SavedModelSession


def test_a_retired_version_is_closed_after_its_last_user(base_path):
    servable = Servable("m", 1, SavedModelSession(base_path / "1"))
    ends = []
    with servable:
        with servable:
            servable.retire(lambda: ends.append("closed"))
        assert ends == []
    assert ends == ["closed"]


def test_an_unused_version_is_closed_at_once(base_path):
    servable = Servable("m", 1, SavedModelSession(base_path / "1"))
    ends = []
    servable.retire(lambda: ends.append("closed"))
    servable.close()
    assert ends == ["closed"]
