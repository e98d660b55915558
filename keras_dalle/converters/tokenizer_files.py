"""Hugging Face tokenizer files: tokenizer.json, or vocab.json and merges.txt."""

import json
import os
from collections.abc import Callable
from pathlib import Path

from keras_dalle.models.dalle_bart.dalle_bart_tokenizer import DalleBartTokenizer
from keras_dalle.text.vocabulary import MERGES_FILE, MERGES_HEADER

TOKENIZER_FILE = "tokenizer.json"
VOCABULARY_FILE = "vocab.json"


def is_tokenizer_folder(directory: Path) -> bool:
    """Whether a folder holds a Hugging Face tokenizer, maybe beside other files."""
    names = {path.name for path in directory.iterdir()}
    return TOKENIZER_FILE in names or {VOCABULARY_FILE, MERGES_FILE} <= names


def load_tokenizer(
    directory: str | os.PathLike,
    notes: list[str] | None = None,
    on_assigned: Callable[[str], None] | None = None,
    dtype: str | None = None,
) -> DalleBartTokenizer:
    """Reads a Hugging Face folder; see `DalleBartTokenizer.from_files`.

    The other arguments are there since all formats' loaders have them.
    """
    return DalleBartTokenizer.from_files(directory)


def save_tokenizer(tokenizer: DalleBartTokenizer, directory: str | os.PathLike) -> None:
    """Writes vocab.json and merges.txt, which every version of Hugging Face's reads.

    Args:
        tokenizer: one with a vocabulary.
        directory: an existing folder.
    """
    vocabulary = json.dumps(
        dict(tokenizer.vocabulary), ensure_ascii=False, separators=(",", ":")
    )
    merges = "\n".join([MERGES_HEADER, *tokenizer.merges]) + "\n"
    for name, text in ((VOCABULARY_FILE, vocabulary), (MERGES_FILE, merges)):
        Path(directory, name).write_text(text, encoding="utf-8", newline="\n")
