"""ASCII spellings of characters and HTML entities, as tables for the graph.

Made of Unicode's own data and of about 190 rows below. Unidecode spells far more
scripts; its tables are under the GPL and must not end up in an exported model.
"""

import html.entities
import unicodedata
from collections.abc import Mapping
from functools import cache

# Letters that Unicode does not decompose, as the normalizer spells them.
_LETTERS = {
    **{"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "ł": "l"},
    **{"þ": "th", "ħ": "h", "ı": "i", "ĸ": "k", "ŋ": "ng", "ŧ": "t", "ſ": "s"},
    **{"ƒ": "f", "ə": "@", "ɓ": "b", "ɗ": "d", "ƙ": "k", "ɛ": "e", "ɔ": "o"},
    **{"ŉ": "'n", "ʻ": "'", "ʼ": "'", "ъ": "'", "ь": "'", "ґ": "g'", "ғ": "g'"},
    **{"қ": "k'", "ң": "n'", "ұ": "u'"},
}
_CYRILLIC = "абвгдежзийклмнопрстуфхцчшщыэюяёєіїўђјљњћџѐѓќѕөүһә"
_CYRILLIC_SPELLINGS = (
    "a b v g d e zh z i i k l m n o p r s t u f kh ts ch sh shch y e iu ia io ie i yi u"
    " dj j lj nj tsh dzh ie gj kj dz o u h @"
)
_GREEK = "αβγδεζηθικλμνξοπρσςτυφχψω"
_GREEK_SPELLINGS = "a b g d e z e th i k l m n x o p r s s t u ph kh ps o"
_SIGNS = {
    **dict.fromkeys("“”„‟″", '"'),
    **dict.fromkeys("‘’‚‛′´", "'"),
    **dict.fromkeys("‐‑‒–¯→←↔", "-"),
    **dict.fromkeys("↑↓│", "|"),
    **{"—": "--", "―": "--", "−": "-", "─": "-", "«": "<<", "»": ">>", "‹": "<"},
    **{"›": ">", "•": "*", "·": "*", "…": "...", "×": "x", "÷": "/", "±": "+-"},
    **{"°": "deg", "€": "EUR", "£": "PS", "¥": "Y=", "¢": "C/", "₹": "Rs", "₩": "W"},
    **{"₽": "R", "₪": "NS", "₺": "L", "₫": "D", "฿": "Bh.", "¤": "$?", "№": "No. "},
    **{"¡": "!", "¿": "?", "§": "SS", "¶": "P", "¬": "!", "¦": "|", "⁄": "/"},
    **{"µ": "u", "†": "+", "‡": "++", "‰": "%0", "≤": "<=", "≥": ">=", "¨": '"'},
    **{"¸": ",", "˜": "~", "˚": "@", "、": ", ", "。": ". ", "「": "[", "」": "] "},
    **{"『": "{", "』": "} ", "【": "[(", "】": ")] ", "《": "<<", "》": ">> "},
    **{"\u200b": " ", "\u2028": "\n", "\u2029": "\n", "〜": "~"},
}
# Of the numeric HTML entities those that occur: Latin letters and punctuation.
_NUMBERED = (*range(0x20, 0x180), *range(0x2010, 0x2045), 0x20AC, 0x2122)


@cache
def ascii_spellings() -> Mapping[str, str]:
    """Character beyond ASCII -> ASCII.

    Those whose Unicode compatibility decomposition (NFKD) without its marks is ASCII,
    Cyrillic and Greek letters, and signs. Others have no entry. Fractions begin with a
    space, so that 1½ is not 11/2.
    """
    letters = {
        **_LETTERS,
        **dict(zip(_CYRILLIC, _CYRILLIC_SPELLINGS.split(), strict=True)),
        **dict(zip(_GREEK, _GREEK_SPELLINGS.split(), strict=True)),
    }
    capitals = {x.upper(): ascii for x, ascii in letters.items() if len(x.upper()) == 1}
    own = {**capitals, **letters, **_SIGNS, "Ξ": "Ks"}
    decomposed = {}
    for character in map(chr, range(0x80, 0x110000)):
        decomposition = unicodedata.decomposition(character)
        parts = unicodedata.normalize("NFKD", character) if decomposition else ""
        spelling = "".join(own.get(x, x) for x in parts if not unicodedata.combining(x))
        if decomposition.startswith("<fraction>"):
            spelling = f" {spelling}"
        if decomposition and spelling.isascii():
            decomposed[character] = spelling
    return {**decomposed, **own}


@cache
def html_entities() -> Mapping[str, str]:
    """HTML entity, as it is written -> its characters.

    All named ones, and the numbers of Latin letters and punctuation.
    """
    names = {f"&{name}": text for name, text in html.entities.html5.items()}
    numbers = {
        form.format(code): chr(code)
        for code in _NUMBERED
        for form in ("&#{};", "&#{:03};", "&#x{:x};", "&#x{:X};", "&#x{:04x};")
    }
    return {**names, **numbers}
