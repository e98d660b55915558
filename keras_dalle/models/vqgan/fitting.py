"""A check that a VQGAN can draw the tokens of a DALL·E mini."""


def require_fitting_vqgan(backbone, vqgan):
    """Raises unless a VQGAN has the tokens and the codes of a DALL·E mini.

    The original puts its special tokens behind the codes: ids from
    `decoder_start_token_id` on are no codes, although embedding and head have rows for
    them.

    Args:
        backbone: a `DalleBartBackbone`.
        vqgan: a `VQGANBackbone`.

    Raises:
        ValueError: its number of tokens per picture or of codes does not fit.
    """
    tokens = vqgan.grid_size**2
    if tokens != backbone.image_length:
        raise ValueError(
            f"The VQGAN must have the {backbone.image_length} image tokens of the "
            f"model. Received: one of {vqgan.grid_size}×{vqgan.grid_size} tokens "
            f"(={tokens}). Use the VQGAN that the model was trained with."
        )
    most = backbone.image_vocabulary_size
    least = min(most, backbone.decoder_start_token_id)
    if not least <= vqgan.codebook_size <= most:
        codes = f"{most}" if least == most else f"{least} to {most}"
        raise ValueError(
            f"The VQGAN must have the {codes} codes that the model draws. Received: "
            f"{vqgan.codebook_size} codes. Use the VQGAN that the model was trained "
            "with."
        )
