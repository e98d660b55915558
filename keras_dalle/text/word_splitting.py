"""Finds the words of a hashtag by how frequent they are."""

import math
import os
import re
from collections.abc import Iterable
from pathlib import Path

from keras_dalle.utils.files import read_limited_text

FREQUENCY_FILE = "enwiki-words-frequency.txt"
MAX_FILE_BYTES = 2**30

_RUN = re.compile(r"[a-z0-9]+")


class WordSplitter:
    """Splits runs of letters and digits into the likeliest words.

    A word costs the logarithm of its rank among the most frequent words (Zipf's
    law), and the cheapest split is found by dynamic programming; of equally cheap
    ones that with the shorter last word. What no words make up falls apart into
    letters. Digits stay together.

    Args:
        words: the most frequent first.

    Raises:
        ValueError: none of the words is of the letters a to z and digits.
    """

    def __init__(self, words: Iterable[str]) -> None:
        # Other words occur in no hashtag, since the normalizer has spelled it in
        # ASCII. Of a word that is listed twice the later rank counts.
        self._costs = {
            word: math.log(rank)
            for rank, word in enumerate(words, 1)
            if _RUN.fullmatch(word)
        }
        if not self._costs:
            raise ValueError(
                "`words` must hold words of the letters a to z and digits. Received: "
                "none. Give the most frequent words of English."
            )
        self._longest = max(map(len, self._costs))

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> "WordSplitter":
        """Reads a list of word counts.

        Args:
            path: a file in UTF-8 with `word count` in each line, the most frequent
                word first, as the tool wikipedia-word-frequency writes it.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is not such a file, or larger than 1 GiB.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(
                "Splitting hashtags needs a list of word counts. Received: "
                f"{path}, which is no file. DALL·E mini's is {FREQUENCY_FILE} in the "
                "Hugging Face repository dalle-mini/dalle-mini (33.8 MB, word counts "
                "of English Wikipedia). Download it, or use `TextNormalizer()`, which "
                "leaves the words of a hashtag together."
            )
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ValueError(
                f"A list of word counts may have up to {MAX_FILE_BYTES:,} bytes. "
                f"Received: {path} with {size:,}. Leave out its rarest words."
            )
        lines = read_limited_text(path, MAX_FILE_BYTES).splitlines()
        return cls(_word_of_line(path, n, line) for n, line in enumerate(lines, 1))

    def __call__(self, text: str) -> str:
        """The words of lower-case text with a space between them.

        What is not a to z or a digit separates words and is left out.
        """
        return " ".join(word for run in _RUN.findall(text) for word in self._split(run))

    def _split(self, run: str) -> list[str]:
        costs, lengths = [0.0], [0]
        for end in range(1, len(run) + 1):
            cost, length = min(
                (costs[end - n] + self._costs.get(run[end - n : end], math.inf), n)
                for n in range(1, min(end, self._longest) + 1)
            )
            costs.append(cost)
            lengths.append(length)
        words: list[str] = []
        end = len(run)
        while end:
            word = run[end - lengths[end] : end]
            end -= len(word)
            if words and word[-1].isdigit() and words[-1][0].isdigit():
                words[-1] = word + words[-1]
            else:
                words.append(word)
        return words[::-1]


def _word_of_line(path: Path, number: int, line: str) -> str:
    fields = line.split()
    if len(fields) != 2 or not fields[1].isdecimal():
        raise ValueError(
            "A list of word counts must have `word count` in each line. Received: "
            f"{line[:60]!r} in line {number} of {path}. Download it again."
        )
    return fields[0]
