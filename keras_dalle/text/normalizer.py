"""The text normalizer of DALL·E mini and Mega, for preparing captions in Python.

Published as `text.py` of borisdayma/dalle-mini. `normalize_in_graph.py` is what of
it runs in a TensorFlow graph.
"""

import html
import os
import random
import re
from collections.abc import Callable
from pathlib import Path

import ftfy
import unidecode

from keras_dalle.text.emoji_names import replace_emoji
from keras_dalle.text.normalization_rules import HASHTAGS, ONE_PERSON, RULES
from keras_dalle.text.word_splitting import FREQUENCY_FILE, WordSplitter

# With their counts in Wikipedia, by which the original draws one.
PERSONS = {"a person": 282265, "someone": 121194, "somebody": 12219}
_HASHTAG = re.compile(r"#(\w+)", re.ASCII)
_PERSON_MARK = "<person>"
# Characters that Unidecode 1.4.0 spells and 1.3.6, the goldens' version, leaves out;
# then those that it spells otherwise, letter case aside.
_SPELLINGS_OF_UNIDECODE_1_3_6 = {
    **dict.fromkeys(range(0x2654, 0x2668), ""),
    **dict.fromkeys(map(ord, "℃℉℟℣⅍゠・ー🅪🅫🅬"), ""),
    ord("🆜"): "[2nc-Scr]",
    ord("🆩"): "[Loss-less]",
    ord("𝛕"): "tai",
}


class TextNormalizer:
    """Spells captions as DALL·E mini and Mega were trained on them.

    Broken encodings and HTML are mended, emoji named, letters spelled in lower-case
    ASCII; punctuation becomes commas, and so on through the table `RULES`. The result
    starts with a space and holds nothing else where nothing is left of a text.

    Args:
        split_words: splits hashtags into words, or `None` to leave them whole.
        seed: chooses what the mark `<person>` of Conceptual 12M becomes. A text always
            becomes the same with the same seed.

    Example:
    ```python
    TextNormalizer()("A CAT &amp; 2,000 dogs!!")  # " a cat & 2000 dogs"
    ```
    """

    def __init__(self, split_words: WordSplitter | None = None, seed: int = 0) -> None:
        self._split_words: Callable[[str], str] = split_words or str
        self._seed = seed
        own_steps = {ONE_PERSON: self._name_persons, HASHTAGS: self._split_hashtags}
        self._steps = [own_steps.get(rule.name, rule) for rule in RULES]

    @classmethod
    def from_directory(
        cls, directory: str | os.PathLike[str], seed: int = 0
    ) -> "TextNormalizer":
        """With the word counts of a checkpoint's folder, to split hashtags.

        Args:
            directory: holds `enwiki-words-frequency.txt`.
            seed: as of the class.

        Raises:
            FileNotFoundError: the file is absent; the message says where it is from.
            ValueError: it is not a list of word counts.
        """
        return cls(WordSplitter.from_file(Path(directory) / FREQUENCY_FILE), seed)

    def __call__(self, text: str) -> str:
        """The normalized text, in ASCII.

        Raises:
            TypeError: if `text` is no string.
        """
        if not isinstance(text, str):
            raise TypeError(
                "`text` must be a string. Received: "
                f"{type(text).__name__}. Decode bytes first; call it text by text."
            )
        text = spell_in_ascii(text).lower()
        for step in self._steps:
            text = step(text)
        return f" {text}"

    def _split_hashtags(self, text: str) -> str:
        return _HASHTAG.sub(lambda match: self._split_words(match[1]), text)

    def _name_persons(self, text: str) -> str:
        if _PERSON_MARK not in text:
            return text
        draw = random.Random(f"{self._seed} {text}")
        first, *others = text.split(_PERSON_MARK)
        persons = draw.choices(list(PERSONS), list(PERSONS.values()), k=len(others))
        return first + "".join(
            f" {person} {other}" for person, other in zip(persons, others, strict=True)
        )


def spell_in_ascii(text: str) -> str:
    """Text with its encoding and HTML mended, its emoji named, and Unidecode's letters.

    ftfy mends the encoding: its heuristics change with its version, by which the
    result for mojibake of rare alphabets does too.
    """
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    text = replace_emoji(text).translate(_SPELLINGS_OF_UNIDECODE_1_3_6)
    return unidecode.unidecode(text)
