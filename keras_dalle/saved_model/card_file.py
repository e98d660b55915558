"""Where a version's model card is, and what it tells a server. Imports no Keras."""

from pathlib import Path

from keras_dalle.utils.files import read_json

CARD_JSON_FILE = Path("assets.extra") / "model_card.json"


def needed_server_flags(path: Path) -> list[str]:
    """The flags, as `--name=value`, that a server of this version must be given.

    Args:
        path: The version's folder. One without such a card needs nothing.
    """
    try:
        flags = read_json(path / CARD_JSON_FILE)["server_flags"]
    except (OSError, ValueError, LookupError, TypeError):
        return []
    if not isinstance(flags, list):
        return []
    return [flag for flag in flags if isinstance(flag, str) and flag.startswith("--")]
