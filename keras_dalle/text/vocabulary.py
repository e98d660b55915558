"""Byte-level BPE vocabularies: reading, writing, checking, training."""

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from keras_dalle.utils.files import read_json, read_limited_text, require_regular_file
from keras_dalle.utils.foreign_values import described, shortened

# In the order of their ids, as BART has them.
SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
VOCABULARY_FILE = "vocabulary.json"
MERGES_FILE = "merges.txt"
MERGES_HEADER = "#version: 0.2"
# What `tokenizer.json` may ask for, by section; anything else changes the ids.
SUPPORTED_MODEL: dict[str, tuple[Any, ...]] = {
    "type": ("BPE",),
    "dropout": (None, 0.0),
    "continuing_subword_prefix": (None, ""),
    "end_of_word_suffix": (None, ""),
    "byte_fallback": (None, False),
    "ignore_merges": (None, False),
}
SUPPORTED_PRE_TOKENIZER: dict[str, tuple[Any, ...]] = {
    "type": ("ByteLevel",),
    "add_prefix_space": (False,),
    "use_regex": (None, True),
}


def byte_characters() -> list[str]:
    """The printable character that stands for each of the 256 bytes in a token.

    The alphabet of GPT-2's `encoder.py`: printable Latin-1 bytes stand for
    themselves, the other 68 take U+0100 and the code points after it, in order.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(b if b in printable else next(others)) for b in range(256)]


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Tokens with their ids, and merge rules in the order of their rank.

    Args:
        ids: token -> id.
        merges: rules such as `"Ġ t"`; both parts and their union are tokens.

    Raises:
        ValueError: if ids are not distinct integers from 0 on, or a rule does not
            consist of two tokens that form a third.
    """

    ids: Mapping[str, int]
    merges: tuple[str, ...]

    def __post_init__(self) -> None:
        ids = list(self.ids.values())
        if not ids or not all(type(i) is int and 0 <= i < 2**31 for i in ids):
            raise ValueError(
                "A vocabulary must map at least one token to its id, an integer of "
                f"0 or more. Received: {shortened(self.ids)}. Give the contents of "
                "vocab.json."
            )
        if any("\ud800" <= c <= "\udfff" for token in self.ids for c in token):
            raise ValueError(
                "A vocabulary's tokens must be text in UTF-8. Received: half of a "
                "surrogate pair. Take vocab.json anew from where it was published."
            )
        if len(set(ids)) != len(ids):
            raise ValueError(
                "A vocabulary's ids must be distinct. Received: "
                f"{len(ids)} tokens with {len(set(ids))} ids. Take vocab.json anew "
                "from where it was published."
            )
        self.rules()

    def rules(self) -> dict[tuple[int, int], tuple[int, int]]:
        """Pair of ids -> (rank, id of the merged token)."""
        rules = {}
        for rank, merge in enumerate(self.merges):
            parts = merge.split(" ")
            tokens = [*parts, "".join(parts)]
            unknown = [token for token in tokens if token not in self.ids]
            if len(parts) != 2 or unknown:
                raise ValueError(
                    "A merge rule must be two tokens with a space between them, and "
                    "they and their union must be in the vocabulary. Received: "
                    f"rule {rank} {shortened(merge)} (unknown: {shortened(unknown)}). "
                    "Use merges.txt and vocab.json of one and the same tokenizer."
                )
            left, right, merged = (self.ids[token] for token in tokens)
            rules[left, right] = (rank, merged)
        return rules

    def merges_in_order(self) -> bool:
        """Whether each rule only uses tokens that rules before it make.

        True of every trained vocabulary, unless two rules make the same token.
        """
        rules = self.rules()
        made_last: dict[int, int] = {}
        for rank, merged in rules.values():
            made_last[merged] = max(rank, made_last.get(merged, -1))
        return all(
            made_last.get(part, -1) < rank
            for pair, (rank, _) in rules.items()
            for part in pair
        )

    def id_of_byte(self) -> dict[int, int]:
        """Byte -> id of its token, for the bytes that have one."""
        return {
            byte: self.ids[character]
            for byte, character in enumerate(byte_characters())
            if character in self.ids
        }

    def bytes_of_id(self) -> dict[int, bytes]:
        """Id -> the bytes that it stands for; none for a special token."""
        byte_of = {character: b for b, character in enumerate(byte_characters())}
        return {
            token_id: b""
            if token in SPECIAL_TOKENS
            else b"".join(
                bytes([byte_of[c]]) if c in byte_of else c.encode() for c in token
            )
            for token, token_id in self.ids.items()
        }


def read_vocabulary(path: str | os.PathLike[str]) -> dict[str, int]:
    """Reads token -> id from a JSON file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it does not hold one JSON object.
    """
    _require_file(Path(path))
    vocabulary = read_json(path)
    if not isinstance(vocabulary, dict):
        raise ValueError(
            "A vocabulary file must hold one JSON object, token -> id. Received: "
            f"`{path}` with {shortened(vocabulary)}. Take vocab.json anew from where "
            "it was published."
        )
    return vocabulary


def read_merges(path: str | os.PathLike[str]) -> list[str]:
    """Reads merge rules, one a line, from a text file; `#version` lines are skipped.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not UTF-8 text.
    """
    _require_file(Path(path))
    lines = read_limited_text(path).split("\n")
    return [line for line in lines if line and not line.startswith("#version")]


def read_tokenizer_files(
    directory: str | os.PathLike[str],
) -> tuple[dict[str, int], list[str]]:
    """Reads a Hugging Face folder: `tokenizer.json`, or vocab.json + merges.txt.

    Returns:
        Token -> id, and the merge rules in the order of their rank.

    Raises:
        FileNotFoundError: if the folder has neither.
        ValueError: if a file is damaged, or asks for another kind of tokenizer.
    """
    directory = Path(directory)
    whole = directory / "tokenizer.json"
    parts = directory / "vocab.json", directory / "merges.txt"
    if whole.exists():
        return _parse_tokenizer_json(whole)
    if all(part.exists() for part in parts):
        return read_vocabulary(parts[0]), read_merges(parts[1])
    raise FileNotFoundError(
        "A tokenizer's folder must hold tokenizer.json, or vocab.json and merges.txt. "
        f"Received: `{directory}`. Download these files from where the checkpoint was "
        "published."
    )


def write_vocabulary(directory: str | os.PathLike[str], vocabulary: Vocabulary) -> None:
    """Writes `vocabulary.json` and `merges.txt` into an existing folder."""
    contents = {
        VOCABULARY_FILE: json.dumps(dict(vocabulary.ids), ensure_ascii=False),
        MERGES_FILE: "\n".join([MERGES_HEADER, *vocabulary.merges]) + "\n",
    }
    for name, text in contents.items():
        target = Path(directory) / name
        temporary = target.with_name(f".{name}.tmp")
        temporary.write_text(text, encoding="utf-8", newline="\n")
        os.replace(temporary, target)


def train_vocabulary(
    captions: Iterable[str], vocabulary_size: int
) -> tuple[dict[str, int], list[str]]:
    """Trains a byte-level BPE vocabulary with the `tokenizers` library.

    The ids are BART's special tokens, the 256 bytes, then what merges make. The
    same captions give the same vocabulary.

    Args:
        captions: texts, normalized as prompts will be.
        vocabulary_size: most tokens to have; fewer come out where no pair of
            symbols is left that occurs twice.

    Returns:
        Token -> id, and the merge rules in the order of their rank.

    Raises:
        ValueError: if `vocabulary_size` leaves no room for bytes and special tokens.
    """
    from tokenizers import ByteLevelBPETokenizer

    least = len(SPECIAL_TOKENS) + 256
    if vocabulary_size < least:
        raise ValueError(
            f"`vocabulary_size` must be at least {least}: "
            f"{len(SPECIAL_TOKENS)} special tokens and 256 bytes. Received: "
            f"vocabulary_size={vocabulary_size}. Ask for more tokens."
        )
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(
        captions,
        vocab_size=vocabulary_size,
        show_progress=False,
        special_tokens=list(SPECIAL_TOKENS),
    )
    model = json.loads(tokenizer.to_str())["model"]
    ids = sorted(model["vocab"].items(), key=lambda item: item[1])
    return dict(ids), [_merge_text(merge) for merge in model["merges"]]


def _parse_tokenizer_json(path: Path) -> tuple[dict[str, int], list[str]]:
    contents = read_json(path)
    try:
        model, added = contents["model"], contents.get("added_tokens") or []
        ids = dict(model["vocab"])
        ids.update((token["content"], token["id"]) for token in added)
        merges = [_merge_text(merge) for merge in model["merges"]]
        pre_tokenizer = dict(contents["pre_tokenizer"] or {})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            "A tokenizer.json must hold a pre-tokenizer and a model with vocabulary "
            f"and merges. Received: `{path}`, where {described(error)} came up. Take "
            "the file anew from where it was published."
        ) from error
    _require(path, "model", model, SUPPORTED_MODEL)
    _require(path, "pre_tokenizer", pre_tokenizer, SUPPORTED_PRE_TOKENIZER)
    _require(path, "normalizer", contents, {"normalizer": (None,)})
    for token in added:
        _require(path, "added token", token, {"content": SPECIAL_TOKENS})
    return ids, merges


def _require(
    path: Path, section: str, values: dict, supported: dict[str, tuple[Any, ...]]
) -> None:
    for key, allowed in supported.items():
        if values.get(key) not in allowed:
            raise ValueError(
                f"The {section}'s `{key}` of a tokenizer must be one of "
                f"{list(allowed)}. Received: {shortened(values.get(key))} in `{path}`. "
                "Only byte-level BPE tokenizers of BART's kind are supported."
            )


def _merge_text(merge: str | list[str]) -> str:
    # `tokenizers` wrote "a b" before 0.20, ["a", "b"] since.
    return merge if isinstance(merge, str) else " ".join(merge)


def _require_file(path: Path) -> None:
    if not path.exists():
        raise FileNotFoundError(
            f"A tokenizer's file must exist. Received: `{path}`. Give the path of a "
            "file from the tokenizer's folder."
        )
    require_regular_file(path)
