"""The fixed split of the emoji: train, validation, compositional test.

`split_of` looks at one emoji sequence and nothing else, neither at its neighbours nor
at a random state, so a picture stays in its split whatever the font can draw.

Compositional test. The emoji of people form a grid: skin tone (5) × gender (woman,
man, person) × role ("firefighter", "running facing right", "curly hair", ...). In every
role that has all three genders, each gender gives up two of its five tones:

    tone          r    r+1  r+2  r+3  r+4     (modulo 5; r is a hash of the role)
    woman         test      test
    man                test      test
    person                  test      test

So two fifths of the grid are never trained on, while each of them has in training the
same role and gender in other tones, the same role and tone in another gender, and the
same gender and tone in other roles. The rest of the grid is all trained on.

Validation. Of the emoji with a skin tone outside the grid (hands, couples, ...), a
fixed share by hash. Those without a skin tone are never held out: nothing else tells
what "flag: Togo" looks like.
"""

from dataclasses import dataclass
from hashlib import blake2b

import emoji

from keras_dalle.data.emoji import SKIN_TONES

TRAIN = "train"
VALIDATION = "validation"
COMPOSITIONAL_TEST = "compositional_test"
SPLITS = (TRAIN, VALIDATION, COMPOSITIONAL_TEST)

GENDERS = ("woman", "man", "person")
_VALIDATION_PERCENT = 10
_HELD_OUT_TONES = {"woman": (0, 2), "man": (1, 3), "person": (2, 4)}
_TONES = list(SKIN_TONES)

_JOINER = "\u200d"
_EMOJI_STYLE = "\ufe0f"
_PERSON = "\U0001f9d1"
_ADULTS = {"\U0001f469": "woman", "\U0001f468": "man", _PERSON: "person"}
_SIGNS = {"\u2640": "woman", "\u2642": "man"}


@dataclass(frozen=True)
class Factors:
    """The place of an emoji in the grid of people.

    `role` is the emoji of the person without a skin tone, such as 🧑‍🚒 for 👩🏿‍🚒.
    """

    tone: str
    gender: str
    role: str


def split_of(sequence: str) -> str:
    """Returns the split, one of `SPLITS`, that an emoji sequence belongs to."""
    factors = factors_of(sequence)
    if factors is not None:
        return COMPOSITIONAL_TEST if _is_held_out(factors) else TRAIN
    has_tone = any(tone in sequence for tone in _TONES)
    if has_tone and _hash(sequence) % 100 < _VALIDATION_PERCENT:
        return VALIDATION
    return TRAIN


def factors_of(sequence: str) -> Factors | None:
    """Returns tone, gender and role of an emoji, or `None` outside the grid.

    An emoji is in the grid if it shows one person with one skin tone in a role that
    the Unicode standard has for a woman, a man and a person.
    """
    tones = [character for character in sequence if character in _TONES]
    if len(tones) != 1:
        return None
    gender, role = _gender_and_role(sequence.replace(tones[0], ""))
    if role == _PERSON or not _GENDERS_OF_ROLE.get(role, set()).issuperset(GENDERS):
        return None
    return Factors(tones[0], gender, role)


def _gender_and_role(sequence: str) -> tuple[str, str]:
    """Splits an emoji without skin tone, such as 👩‍🚒 into "woman" and 🧑‍🚒."""
    base, *rest = sequence.replace(_EMOJI_STYLE, "").split(_JOINER)
    if base in _ADULTS:
        return _ADULTS[base], _JOINER.join([_PERSON, *rest])
    if rest and rest[0] in _SIGNS:
        return _SIGNS[rest[0]], _JOINER.join([base, *rest[1:]])
    return "person", _JOINER.join([base, *rest])


def _genders_of_role() -> dict[str, set[str]]:
    genders: dict[str, set[str]] = {}
    for sequence in emoji.EMOJI_DATA:
        gender, role = _gender_and_role(sequence)
        genders.setdefault(role, set()).add(gender)
    return genders


_GENDERS_OF_ROLE = _genders_of_role()


def _is_held_out(factors: Factors) -> bool:
    offset = _TONES.index(factors.tone) - _hash(factors.role)
    return offset % len(_TONES) in _HELD_OUT_TONES[factors.gender]


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
