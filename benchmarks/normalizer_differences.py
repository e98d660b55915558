"""How often the normalizer in the graph differs from the one in Python.

    python -m benchmarks.normalizer_differences

prints, for each kind of caption, how many there are and how many are normalized
otherwise, with an example. The captions are the same every time.
"""

import argparse
import itertools
import random
import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from keras_dalle.text.emoji_names import emoji_names
from keras_dalle.text.normalize_in_graph import GraphNormalizer
from keras_dalle.text.normalizer import TextNormalizer
from keras_dalle.text.word_splitting import WordSplitter

ROOT = Path(__file__).parents[1]
FREQUENCY_FILE = ROOT / "tests" / "data" / "golden" / "text" / "words-frequency.txt"

SUBJECTS = (
    "a red fox",
    "The Eiffel Tower",
    "two old friends",
    "an armchair in the shape of an avocado",
    "Grandma's cat",
    "mountain lake",
    "a steam-powered robot",
    "MY DOG",
)
SCENES = (
    "in the snow",
    "at night, oil painting",
    "by Claude Monet",
    "on the beach (4K render)",
    "under a starry sky...",
)
# A caption of a kind is each of its forms with each pair of a subject and a scene.
FORMS = {
    "plain": ("{} {}", "{}, {}", "{}   {} ", "photo of {}; {}", "{}\n{}\t!"),
    "upper case": ("PHOTO OF {} {}", "{} IN THE MIDDLE {}", "ÉTÉ {} {}"),
    "punctuation": (
        "{}!!! {}???",
        "[{}] {{{}}} ~~",
        "{}: {}; etc. | more / less",
        "...{}, ,, {},",
        "{} + {} = ?",
        "snake_case {} back\\slash {}",
        "--{}--{}--",
        "{} @ home & {} * 50%",
        "sooooo coooool {} {}!!!!!",
    ),
    "numbers and dates": (
        "{} 1,234,567 times {}",
        "{} 3.14 {} 2.71.8",
        "{} on 10/12/2022 {}",
        "5 < 6 {} 7 > 3 {}",
        "{} 24/7, 1/2 and 3,5 {}",
        "v1.2.3 {} 111111 {} 1234,5678",
        "$100 {} 2nd floor {} #1",
    ),
    "quotes and contractions": (
        "{} isn't {}",
        'the "{}" {}',
        "'{}' they're, we've, I'll, he'd {}",
        "rock 'n' roll {} the '90s {}",
        "‘{}’ “{}” ``",
        "{}’s won’t {} O'Brien's",
    ),
    "HTML": (
        "<b>{}</b> {}",
        "<p class='x'>{}<br/>{}</p>",
        "{} &amp; {} &lt;3",
        "{}&nbsp;&quot;{}&quot; &#39;n&#x27;",
        "caf&eacute; {} &amp;amp; {} &copy; 2020",
    ),
    "URLs": (
        "{} https://example.com/a?b=1&c=2 {}",
        "http://a.b {} www.example.com {}",
        "{} ftp://host/file me@example.com {}",
    ),
    "persons and references": (
        "<PERSON>, <person> and <person> {} {}",
        "[12] {} {}",
        "{} {} [3]",
        "{} [4] {}",
    ),
    "one person mark": ("<person> with {} {}", "{} <PERSON> {}"),
    "Latin letters": (
        "{} café naïve façade {}",
        "{} Straße Ærø smørrebrød {}",
        "{} żółty źrebak łąka {}",
        "{} ağaç çiçek ığdır İstanbul {}",
        "{} đường phố Hà Nội {}",
        "{} e\u0301te\u0301 ﬁne Ａｆｕｌｌ 𝔣𝔯𝔞𝔨 {}",
    ),
    "typography": (
        "{}—{} – x…",
        "{} • {} · €5 £6 °C 1½ ¼",
        "«{}» ‹{}› № 5 ™ ©",
        "{}\u200b{}\u00a0soft\u00adhyphen",
        "{} → {} ← ★ ♪ x² ±1 3×4",
    ),
    "Cyrillic and Greek": (
        "{} Красный кот на снегу {}",
        "{} Київ, зима. Объект {}",
        "{} Ελλάδα, καλημέρα {}",
    ),
    "other scripts": (
        "{} 日本の富士山 {}",
        "{} 红色的猫 {}",
        "{} 서울의 밤 {}",
        "{} قطة حمراء {}",
        "{} חתול אדום {}",
        "{} लाल बिल्ली {}",
        "{} แมวแดง {}",
    ),
    "broken encoding": (
        "{} cafÃ© {}",
        "{} itâ€™s {}",
        "{} â€œhiâ€\x9d {}",
        "{} ÐºÐ¾Ñ‚ {}",
    ),
    "hashtags": ("{} #DeepLearning #NewYork {}", "#Cats {} #art {}", "{} #2022 {}"),
    "hashtags in lower case": ("{} #deeplearning {}", "{} #nofilter #tutuswalking {}"),
}
EMOJI_FORMS = ("{} party{}time", "a cat {}{}", "{}{} in the sun")
CHARACTERS = {
    "each character to U+017F": range(0x180),
    "each from there to U+052F": range(0x180, 0x530),
}
JOINER = "\u200d"
NUM_RANDOM = 500


@dataclass(frozen=True)
class Differences:
    """Of one kind of caption: how many, and (text, Python's, the graph's) of those
    that are normalized otherwise."""

    num_captions: int
    different: list[tuple[str, str, str]]


def captions() -> Iterator[tuple[str, str]]:
    """Pairs of kind and caption, in a fixed order."""
    for kind, forms in FORMS.items():
        for form, subject, scene in itertools.product(forms, SUBJECTS, SCENES):
            yield kind, form.format(subject, scene)
    for number, pair in enumerate(itertools.pairwise(emoji_names())):
        yield "emoji", EMOJI_FORMS[number % len(EMOJI_FORMS)].format(*pair)
    for kind, codes in CHARACTERS.items():
        yield from ((kind, f"A{chr(code)}b") for code in codes)
    draw = random.Random(0)
    for _ in range(NUM_RANDOM):
        emoji = draw.choices(list(emoji_names()), k=3)
        yield "emoji joined at random", f"{JOINER.join(emoji)} by the sea"
    for _ in range(NUM_RANDOM):
        characters = draw.choices(string.printable, k=draw.randrange(60))
        yield "random ASCII", "".join(characters)


def count_differences(frequency_file: Path = FREQUENCY_FILE) -> dict[str, Differences]:
    """Normalizes all captions both ways.

    Args:
        frequency_file: the word counts by which Python splits hashtags.

    Returns:
        kind -> differences.
    """
    normalize = TextNormalizer(WordSplitter.from_file(frequency_file))
    normalize_in_graph = GraphNormalizer()
    differences = {}
    for kind, pairs in itertools.groupby(captions(), lambda pair: pair[0]):
        texts = [text for _, text in pairs]
        in_graph = [x.decode() for x in normalize_in_graph(tf.constant(texts)).numpy()]
        triples = zip(texts, map(normalize, texts), in_graph, strict=True)
        different = [triple for triple in triples if triple[1] != triple[2]]
        differences[kind] = Differences(len(texts), different)
    return differences


def markdown_table(differences: dict[str, Differences]) -> str:
    """The table in docs/checkpoints.md."""
    rows = [
        f"| {kind} | {result.num_captions} | {len(result.different)} |"
        for kind, result in differences.items()
    ]
    return "\n".join(
        ["| captions with | number | different |", "|---|---:|---:|", *rows]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frequency-file", type=Path, default=FREQUENCY_FILE)
    arguments = parser.parse_args()
    differences = count_differences(arguments.frequency_file)
    print(markdown_table(differences))
    for kind, result in differences.items():
        for text, in_python, in_graph in result.different[:1]:
            print(f"\n{kind}: {text!r}\n  Python {in_python!r}\n  graph  {in_graph!r}")


if __name__ == "__main__":
    main()
