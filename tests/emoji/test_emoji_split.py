"""The split of the emoji, over all sequences of the `emoji` package."""

from collections import Counter

import pytest

from keras_dalle.data.emoji import SKIN_TONES, caption_of, fully_qualified_sequences
from keras_dalle.data.emoji_split import (
    COMPOSITIONAL_TEST,
    GENDERS,
    SPLITS,
    TRAIN,
    VALIDATION,
    factors_of,
    split_of,
)

SPLIT = {sequence: split_of(sequence) for sequence in fully_qualified_sequences()}


def factors(*splits):
    found = [factors_of(sequence) for sequence in SPLIT if SPLIT[sequence] in splits]
    return [one for one in found if one is not None]


@pytest.mark.parametrize(
    ("sequence", "tone", "gender", "role"),
    [
        ("👩🏿‍🚒", "dark skin tone", "woman", "🧑‍🚒"),
        ("🧑🏿‍🚒", "dark skin tone", "person", "🧑‍🚒"),
        ("🏃🏻‍♂️", "light skin tone", "man", "🏃"),
        ("🏃🏻", "light skin tone", "person", "🏃"),
        ("🏃🏻‍♀️‍➡️", "light skin tone", "woman", "🏃‍➡"),
        ("🏃🏻‍➡️", "light skin tone", "person", "🏃‍➡"),
        ("👨🏽‍🦰", "medium skin tone", "man", "🧑‍🦰"),
    ],
)
def test_factors_of_people(sequence, tone, gender, role):
    found = factors_of(sequence)
    assert found is not None
    assert (SKIN_TONES[found.tone], found.gender, found.role) == (tone, gender, role)


@pytest.mark.parametrize(
    "sequence",
    ["❤️", "👩‍🚒", "👩🏿", "👋🏿", "🧑🏿‍🎄", "👩🏻‍🤝‍👨🏿", "👦🏽", "👨‍👩‍👧"],
    ids=caption_of,
)
def test_other_emoji_are_outside_the_grid(sequence):
    assert factors_of(sequence) is None
    assert SPLIT[sequence] in (TRAIN, VALIDATION)


def test_known_emoji_stay_in_their_splits():
    assert SPLIT["❤️"] == TRAIN
    assert SPLIT["👩🏿‍🚒"] == COMPOSITIONAL_TEST
    assert SPLIT["👩🏽‍🚒"] == TRAIN
    assert SPLIT["🤰🏽"] == VALIDATION


def test_sizes_of_the_splits():
    sizes = Counter(SPLIT.values())
    assert set(sizes) == set(SPLITS)
    assert sizes[COMPOSITIONAL_TEST] >= 400
    assert 50 <= sizes[VALIDATION] <= 0.04 * sizes.total()
    assert sizes[TRAIN] >= 0.8 * sizes.total()


def test_compositional_test_is_two_fifths_of_every_role():
    held_out = Counter((one.role, one.gender) for one in factors(COMPOSITIONAL_TEST))
    grid = Counter((one.role, one.gender) for one in factors(*SPLITS))
    assert held_out.keys() == grid.keys()
    assert set(grid.values()) == {5}
    assert set(held_out.values()) == {2}


def test_every_held_out_combination_is_new_but_each_pair_of_factors_is_trained():
    train = factors(TRAIN)
    combinations = {(one.tone, one.gender, one.role) for one in train}
    role_gender = Counter((one.role, one.gender) for one in train)
    role_tone = {(one.role, one.tone) for one in train}
    gender_tone = Counter((one.gender, one.tone) for one in train)
    for one in factors(COMPOSITIONAL_TEST):
        assert (one.tone, one.gender, one.role) not in combinations
        assert role_gender[one.role, one.gender] == 3
        assert (one.role, one.tone) in role_tone
        assert gender_tone[one.gender, one.tone] >= 20


def test_every_tone_and_gender_is_tested():
    held_out = Counter((one.tone, one.gender) for one in factors(COMPOSITIONAL_TEST))
    assert len(held_out) == len(SKIN_TONES) * len(GENDERS)
    assert min(held_out.values()) >= 15


def test_validation_is_outside_the_grid():
    assert factors(VALIDATION) == []
    toned = [sequence for sequence in SPLIT if has_tone(sequence)]
    outside = [sequence for sequence in toned if factors_of(sequence) is None]
    validation = sum(SPLIT[sequence] == VALIDATION for sequence in outside)
    assert 0.07 < validation / len(outside) < 0.13


def test_emoji_without_skin_tone_are_all_trained_on():
    plain = [split for sequence, split in SPLIT.items() if not has_tone(sequence)]
    assert set(plain) == {TRAIN}


def has_tone(sequence):
    return any(tone in sequence for tone in SKIN_TONES)
