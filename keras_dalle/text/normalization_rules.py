"""The text normalizer's rules on lower-case text, as one ordered table.

The rules are those that DALL·E mini and Mega were trained with. A pattern's syntax
is what Python's `re` and RE2 have in common, so that the same table runs in Python
(`normalizer.py`) and in a TensorFlow graph (`normalize_in_graph.py`).
"""

import re
from dataclasses import dataclass
from functools import cached_property

# What stands for a character that later rules must leave alone. The text is the
# original's: it shows in the words of a hashtag ("#it's").
_KEPT = "xtokx{}xtokx"
_DOT, _QUOTE, _SLASH = map(_KEPT.format, ("dot", "quote", "slash"))

# Rules that Python or the graph replaces by code of its own.
ONE_PERSON = "one person"
HASHTAGS = "hashtags"
REPEATED_CHARACTERS = "repeated characters"


@dataclass(frozen=True)
class Rule:
    """Replaces every match of a pattern.

    Args:
        name: what the rule is about.
        pattern: regular expression, for ASCII text.
        replacement: in which `\\1` is the pattern's first group.
    """

    name: str
    pattern: str
    replacement: str

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self.pattern, re.ASCII)

    def __call__(self, text: str) -> str:
        return self._compiled.sub(self.replacement, text)


RULES = (
    # Conceptual 12M has <PERSON> for names, WIT the reference marks of Wikipedia.
    Rule("several persons", r"<person>([,\s]*((and)+[,\s]*)?<person>)+", " people "),
    Rule(ONE_PERSON, r"<person>", " a person "),
    Rule("reference mark at the start", r"\A\s*\[\d+\]", ""),
    Rule("reference mark at the end", r"\[\d+\]\s*$", ""),
    Rule("HTML tags", r"<[^<]+?>", " "),
    Rule("URLs", r"http\S+", ""),
    # Twice, as the original: 1,2345,678 needs it.
    Rule("commas in numbers", r"(\d),(\d{3})", r"\1\2"),
    Rule("more commas in numbers", r"(\d),(\d{3})", r"\1\2"),
    Rule("keep dots within words", r"(\w)\.(\w)", rf"\1{_DOT}\2"),
    Rule("keep contractions", r"'([stdm]|ll|re|ve)\b", rf"{_QUOTE}\1"),
    Rule("keep slashes within numbers", r"(\d)/(\d)", rf"\1{_SLASH}\2"),
    Rule("hyphens within words", r"(\w)-(\w)", r"\1 \2"),
    Rule("space around signs", r"([%&/$*])", r" \1 "),
    Rule(HASHTAGS, r"#(\w+)", r"\1"),
    Rule("ignored characters", r"[_#\\]", " "),
    Rule("quotes", "['\"`]", ' " '),
    Rule("punctuation", r"[()\[\].,|:;?!=+~\-/{}]", ","),
    Rule("dots within words", _DOT, "."),
    Rule("contractions", _QUOTE, "'"),
    Rule("slashes within numbers", _SLASH, "/"),
    # From four on, since Roman numerals have three.
    Rule(REPEATED_CHARACTERS, r"(\D)\1{3,}", r"\1"),
    # Before the next two, which would take quadratic time over long white space.
    Rule("white space", r"\s+", " "),
    Rule("several quotes", r'(\s*"+\s*)+', ' " '),
    Rule("several commas", r"(\s*,+\s*)+", ", "),
    Rule("outer white space", r"^\s+|\s+$", ""),
    Rule("outer commas", r"^,|,$", ""),
    Rule("white space inside them", r"^\s+|\s+$", ""),
)
