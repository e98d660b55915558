"""Where a version's model card is, and what it tells a server. Imports no Keras."""

from pathlib import Path

from keras_dalle.utils.files import read_json

# For graphs with XLA, which is linked into the stock server, and off.
XLA_FLAG = "--xla_cpu_compilation_enabled=true"
CARD_JSON_FILE = Path("assets.extra") / "model_card.json"


def needed_server_flags(path: Path) -> list[str]:
    """The flags, as `--name=value`, that a server of this version must be given.

    Args:
        path: The version's folder. One without such a card needs nothing. Of what a
            card says, a flag that exports name counts, and no other.
    """
    try:
        flags = read_json(path / CARD_JSON_FILE)["server_flags"]
        return [XLA_FLAG] if XLA_FLAG in flags else []
    except (OSError, ValueError, LookupError, TypeError):
        return []
