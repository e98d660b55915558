"""YAML from outside: plain values, and none that take long."""

import pytest

from keras_dalle.utils.yaml_files import MAX_YAML_BYTES, read_yaml


def _aliases(levels, width):
    """Returns few bytes that stand for width**levels values."""
    lines = ["a0: &a0 [x]"]
    for i in range(1, levels):
        lines.append(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * width)}]")
    return "\n".join(lines)


def test_plain_values(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("a: [1, 2.5]\nb: {c: 'ü', d: ~}\n", encoding="utf-8")
    assert read_yaml(path) == {"a": [1, 2.5], "b": {"c": "ü", "d": None}}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (_aliases(30, 9), "aliases"),
        ("a: &a\n  <<: *a\n", "aliases"),
        ("base: &base {x: 1}\nderived:\n  <<: *base\n", "aliases"),
        ("&a [*a]", "aliases"),
        ("[" * 50_000, "RecursionError"),
        ("- " * 20_000, "RecursionError"),
        ('!!int ""', "IndexError"),
        ("!!bool maybe", "KeyError"),
        ("!!timestamp soon", "AttributeError"),
        ("? [a]\n: 1\n", "unhashable"),
        ("1" * 5000, "ValueError"),
        ("a: b: c", "ScannerError"),
        ("!!python/name:os.system", "ConstructorError"),
    ],
    ids=lambda value: value[:20],
)
def test_what_cannot_be_read_names_its_file(tmp_path, text, reason):
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(
        ValueError, match=rf"odd\.yaml is not valid YAML.*{reason}"
    ) as e:
        read_yaml(path)
    assert len(str(e.value)) < 1000


def test_the_size_is_bounded(tmp_path):
    path = tmp_path / "large.yaml"
    path.write_text("#" * (MAX_YAML_BYTES + 1))
    with pytest.raises(ValueError, match=r"large\.yaml must have at most"):
        read_yaml(path)
