"""Tokenizer of DALL·E mini and Mega: BART's byte-level BPE, in the graph."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras_hub.tokenizers import Tokenizer

from keras_dalle.generation.text_tensors import id_tensor, text_tensor
from keras_dalle.models.dalle_bart.dalle_bart_backbone import DalleBartBackbone
from keras_dalle.models.original_checkpoints import (
    TOKENIZER_FILES,
    FromOriginalCheckpoint,
)
from keras_dalle.models.saved_alone import SavedAlone
from keras_dalle.text.byte_pair_encoding import BytePairEncoder
from keras_dalle.text.vocabulary import (
    MERGES_FILE,
    VOCABULARY_FILE,
    Vocabulary,
    read_merges,
    read_tokenizer_files,
    read_vocabulary,
    write_vocabulary,
)
from keras_dalle.utils.foreign_values import naming, shortened


@keras.saving.register_keras_serializable(package="keras_dalle")
class DalleBartTokenizer(SavedAlone, FromOriginalCheckpoint, Tokenizer):
    """Turns prompts into token ids and back, id for id as Hugging Face's BART does.

    It is made of core TensorFlow ops, so it works eagerly, in `tf.function`, in
    `tf.data` and in a SavedModel that is loaded with TensorFlow alone. `<s>` and
    `</s>` are not added; their text within a prompt becomes their id.

    Args:
        vocabulary: token -> id, or the path of a JSON file of it.
        merges: merge rules such as `"Ġ t"`, or the path of a file with one a line.
        **kwargs: as of every Keras layer.

    Example:
    ```python
    tokenizer = DalleBartTokenizer.from_files("path/to/dalle-mini")
    ids = tokenizer(["a red heart", ""])  # int32 [2, None], ragged
    tokenizer.detokenize(ids)  # string [2]
    ```
    """

    backbone_cls = DalleBartBackbone
    original_files = TOKENIZER_FILES
    own_files = ("tokenizer.json",)

    def __init__(
        self,
        vocabulary: Mapping[str, int] | str | os.PathLike[str] | None = None,
        merges: Sequence[str] | str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": "int32", **kwargs})
        self.file_assets = [VOCABULARY_FILE, MERGES_FILE]
        self._vocabulary: Vocabulary | None = None
        for name, token in (("start", "<s>"), ("end", "</s>"), ("pad", "<pad>")):
            self._add_special_token(token, f"{name}_token")
        self.set_vocabulary_and_merges(vocabulary, merges)

    @classmethod
    def from_files(cls, directory: str | os.PathLike[str]) -> "DalleBartTokenizer":
        """Reads a Hugging Face folder: tokenizer.json, or vocab.json + merges.txt.

        Raises:
            FileNotFoundError: if the folder has neither.
            ValueError: if a file is damaged, or of another kind of tokenizer.
        """
        vocabulary, merges = read_tokenizer_files(directory)
        with naming(directory):
            return cls(vocabulary, merges)

    from_original = from_files

    @classmethod
    def load_alone(cls, loader, config_file="tokenizer.json", **kwargs):
        return loader.load_tokenizer(cls, config_file, **kwargs)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "DalleBartTokenizer":
        # A config comes from a file that may be a stranger's: it must not name
        # further files to read.
        if "vocabulary" in config or "merges" in config:
            raise ValueError(
                "A tokenizer's config must not hold `vocabulary` or `merges`. "
                f"Received: {shortened(sorted(config))}. They are read from the files "
                f"{VOCABULARY_FILE} and {MERGES_FILE} beside it."
            )
        return super().from_config(config)

    def set_vocabulary_and_merges(
        self,
        vocabulary: Mapping[str, int] | str | os.PathLike[str] | None,
        merges: Sequence[str] | str | os.PathLike[str] | None,
    ) -> None:
        """Sets the vocabulary, or unsets it where both arguments are `None`.

        Raises:
            FileNotFoundError: if a path leads nowhere.
            ValueError: if only one of the two is given, or if they do not fit
                together, or if `<s>`, `</s>` or `<pad>` is not among the tokens.
        """
        if (vocabulary is None) != (merges is None):
            missing = "vocabulary" if vocabulary is None else "merges"
            raise ValueError(
                "`vocabulary` and `merges` must be given together. Received: "
                f"{missing}=None. Give both, or neither."
            )
        if vocabulary is None or merges is None:
            self._vocabulary = None
            return
        if isinstance(vocabulary, (str, os.PathLike)):
            vocabulary = read_vocabulary(vocabulary)
        if isinstance(merges, (str, os.PathLike)):
            merges = read_merges(merges)
        self._vocabulary = Vocabulary(dict(vocabulary), tuple(merges))
        self._encoder = BytePairEncoder(self._vocabulary)
        self._update_special_token_ids()

    def save_assets(self, dir_path: str) -> None:
        write_vocabulary(dir_path, self._checked_vocabulary())

    def load_assets(self, dir_path: str) -> None:
        vocabulary = read_vocabulary(os.path.join(dir_path, VOCABULARY_FILE))
        merges = read_merges(os.path.join(dir_path, MERGES_FILE))
        with naming(dir_path):
            self.set_vocabulary_and_merges(vocabulary, merges)

    def call(self, inputs, training=None):
        return self.tokenize(inputs)

    def tokenize(self, inputs):
        """Token ids of one prompt or of a batch.

        Args:
            inputs: string [] or [B], as a tensor or in Python. Invalid UTF-8 is
                read as U+FFFD.

        Returns:
            int32 [N] for a scalar, else int32 [B, None], ragged; no ids for an
            empty prompt.

        Raises:
            ValueError: if there is no vocabulary, or if inputs are something else.
        """
        self._checked_vocabulary()
        return self._encoder.encode(text_tensor("inputs", inputs))

    def detokenize(self, inputs):
        """Text of token ids; special tokens are left out.

        Args:
            inputs: int [..., N], ragged or dense.

        Returns:
            string [...], the prompts to the byte where they were valid UTF-8.

        Raises:
            ValueError: if there is no vocabulary, or if inputs are no integers.
        """
        self._checked_vocabulary()
        return self._encoder.decode(id_tensor("inputs", inputs))

    @property
    def vocabulary(self) -> Mapping[str, int]:
        """Token -> id."""
        return self._checked_vocabulary().ids

    @property
    def merges(self) -> list[str]:
        """Merge rules in the order of their rank."""
        return list(self._checked_vocabulary().merges)

    def get_vocabulary(self) -> list[str]:
        """The tokens."""
        return list(self.vocabulary)

    def vocabulary_size(self) -> int:
        """The number of tokens."""
        return len(self.vocabulary)

    def id_to_token(self, id: int) -> str:
        """The token of an id.

        Raises:
            ValueError: if no token has it.
        """
        for token, token_id in self.vocabulary.items():
            if token_id == id:
                return token
        raise ValueError(
            "`id` must be the id of a token. Received: "
            f"id={id}. There are {self.vocabulary_size()} tokens."
        )

    def token_to_id(self, token: str) -> int:
        """The id of a token.

        Raises:
            ValueError: if it is not in the vocabulary.
        """
        if not isinstance(token, str) or token not in self.vocabulary:
            raise ValueError(
                "`token` must be in the vocabulary. Received: "
                f"token={shortened(token)}. `get_vocabulary()` lists the tokens."
            )
        return self.vocabulary[token]

    def _checked_vocabulary(self) -> Vocabulary:
        if self._vocabulary is None:
            raise ValueError(
                "A tokenizer must have a vocabulary before it is used. Received: "
                "none. Pass `vocabulary` and `merges`, or use `from_files`."
            )
        return self._vocabulary
