"""English names of emoji, as the package `emoji` 2.2.0 has them (Emoji 15.0).

The original calls that package; its names change from version to version. Of a
later one we take the emoji that 2.2.0 knew, with the names that it had.
"""

from collections.abc import Mapping
from functools import cache

import emoji

_EMOJI_VERSION = 15.0
# What emoji 2.16 calls otherwise, letter case aside.
_NAMES_OF_2_2_0 = {
    "\U0001f1f9\U0001f1f7": "Turkey",
    "\U0001f1ed\U0001f1f2": "Heard_&_McDonald_Islands",
    "\U0001f1f9\U0001f1eb": "French_Southern_Territories",
    "\U0001f1f8\U0001f1ed": "St._Helena",
    "\U0001f1e8\U0001f1ec": "Congo_-_Brazzaville",
    "\U0001f1e8\U0001f1e9": "Congo_-_Kinshasa",
}


@cache
def emoji_names() -> Mapping[str, str]:
    """Emoji -> name between colons, such as `:red_heart:`."""
    names = {
        characters: data["en"]
        for characters, data in emoji.EMOJI_DATA.items()
        if data["E"] <= _EMOJI_VERSION
    }
    return {**names, **{x: f":{name}:" for x, name in _NAMES_OF_2_2_0.items()}}


@cache
def _prefixes() -> frozenset[str]:
    return frozenset(
        characters[:end]
        for characters in emoji_names()
        for end in range(1, len(characters) + 1)
    )


def replace_emoji(text: str) -> str:
    """Replaces each emoji by its name between colons.

    From where an emoji may begin, as many characters are read as begin any emoji;
    where they are not one as a whole, only the first is passed over. Thus a woman
    with a joiner that joins nothing has no name, as in emoji 2.2.0.
    """
    if text.isascii():
        return text
    names, prefixes = emoji_names(), _prefixes()
    pieces = []
    start = 0
    while start < len(text):
        end = start
        while end < len(text) and text[start : end + 1] in prefixes:
            end += 1
        name = names.get(text[start:end])
        end = start + 1 if name is None else end
        pieces.append(text[start:end] if name is None else name)
        start = end
    return "".join(pieces)
