"""Prompts that are token ids already, for a task without a preprocessor."""

# B prompts, S text tokens

import functools
from typing import Any

import numpy as np

from keras_dalle.generation.prompt_inputs import (
    RowsRead,
    prompts_and_negatives,
    rows_of_elements,
)
from keras_dalle.utils.foreign_values import shortened

IDS, MASK = "encoder_token_ids", "encoder_padding_mask"
_FORMS = f"token ids, a dictionary of `{IDS}` and `{MASK}`"


def token_rows(task: Any, inputs: Any) -> RowsRead:
    """Reads what a preprocessor's `generate_preprocess` gives.

    Args:
        task: a `DalleBartTextToImage`.
        inputs: token ids int [S] or [B, S]; or a dictionary of them as
            `encoder_token_ids` and, if wanted, of 1 for real ones as
            `encoder_padding_mask`; or a dictionary with these as `prompts` and, if
            wanted, as `negative_prompts`; or a `tf.data.Dataset` of any of these.

    Returns:
        `prompt_ids`, `prompt_mask`, `negative_prompt_ids` and `negative_prompt_mask`,
        int32 [B, S], and whether there was one prompt without a batch.

    Raises:
        ValueError: it is something else, or an id is none of the backbone's.
    """
    return rows_of_elements(inputs, functools.partial(_token_rows, task))


def _token_rows(task: Any, inputs: Any) -> RowsRead:
    if isinstance(inputs, dict) and IDS in inputs:
        inputs = {"prompts": inputs}
    found = prompts_and_negatives(inputs, _FORMS)
    prompt_BS, mask_BS, is_scalar = _ids_and_mask(task, "prompts", found["prompts"])
    negatives = found.get("negative_prompts", _blank_caption(task))
    negative_BS, negative_mask_BS, _ = _ids_and_mask(
        task, "negative_prompts", negatives
    )
    if len(negative_BS) not in (1, len(prompt_BS)):
        raise ValueError(
            "`negative_prompts` must be one for all, or one per prompt "
            f"(={len(prompt_BS)}). Received: {len(negative_BS)}."
        )
    return {
        "prompt_ids": prompt_BS,
        "prompt_mask": mask_BS,
        "negative_prompt_ids": np.broadcast_to(negative_BS, prompt_BS.shape),
        "negative_prompt_mask": np.broadcast_to(negative_mask_BS, prompt_BS.shape),
    }, is_scalar


def _blank_caption(task: Any) -> np.ndarray:
    """Returns the ids of `<s> </s>`, the default negative prompt of guidance."""
    blank = task.blank_captions
    return np.array([blank.start_token_id, blank.end_token_id])


def _ids_and_mask(task, name, prompts):
    """Returns both as int32 [B, S], padded for the backbone, and if there was no B."""
    length, pad = task.backbone.max_text_length, task.blank_captions.pad_token_id
    mask = None
    if isinstance(prompts, dict):
        if IDS not in prompts or set(prompts) - {IDS, MASK}:
            raise ValueError(
                f"`{name}` must be {_FORMS}. Received: {shortened(list(prompts))}."
            )
        prompts, mask = prompts[IDS], prompts.get(MASK)
    ids = _checked_ids(name, prompts, length, task.backbone.vocabulary_size)
    mask = _checked_mask(ids != pad if mask is None else mask, ids.shape)
    padding = [(0, 0), (0, length - ids.shape[-1])]
    ids_BS = np.pad(np.atleast_2d(ids), padding, constant_values=pad)
    return ids_BS, np.pad(np.atleast_2d(mask), padding), ids.ndim == 1


def _checked_ids(name, values, length, vocabulary_size):
    ids = _array(values)
    if not ids.size:
        return np.zeros((0, length), np.int32)
    if ids.dtype.kind not in "iu" or ids.ndim not in (1, 2) or ids.shape[-1] > length:
        is_named = ids.ndim and ids.dtype.kind in "biuf"
        received = f"{ids.dtype} {list(ids.shape)}" if is_named else shortened(values)
        raise ValueError(
            f"Without a preprocessor, `{name}` must be token ids, int [S] or [B, S] "
            f"with S at most {length}. Received: {received}. Give what "
            "`generate_preprocess` of a preprocessor returns, or set `preprocessor`."
        )
    if not 0 <= ids.min() <= ids.max() < vocabulary_size:
        raise ValueError(
            f"Token ids of `{name}` must be from 0 to {vocabulary_size - 1}. Received: "
            f"{ids.min()} to {ids.max()}."
        )
    return ids.astype(np.int32)


def _checked_mask(values, shape):
    mask = _array(values)
    if mask.shape != shape or not np.isin(mask, (0, 1)).all():
        raise ValueError(
            f"`{MASK}` must be 1 for real tokens and else 0, of the shape of `{IDS}` "
            f"(={list(shape)}). Received: {shortened(values)}."
        )
    if not mask.any(axis=-1).all():
        raise ValueError(
            f"`{MASK}` must have a real token in each row. Received: a row of zeros."
        )
    return mask.astype(np.int32)


def _array(values):
    """Calls `np.asarray`, but returns one object for rows of several lengths."""
    try:
        return np.asarray(values)
    except ValueError:
        return np.array(None)
