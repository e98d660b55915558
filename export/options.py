"""Arguments that all scripts of this folder take."""

import argparse
import re


def parser_of(document: str, example: str) -> argparse.ArgumentParser:
    """A parser with the preset, the model's name, batch sizes and the jit variant."""
    parser = argparse.ArgumentParser(
        description=document,
        epilog=f"Example: {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("preset", help="a preset's name or folder")
    parser.add_argument(
        "--name", type=label, default="dalle", help="the model's; default: dalle"
    )
    parser.add_argument(
        "--batch-size",
        type=positive,
        nargs="+",
        default=[1, 4],
        help="rows of a batch: smaller ones are filled up; default: 1 4",
    )
    parser.add_argument(
        "--jit", action="store_true", help="compile the decoder's step with XLA"
    )
    return parser


def positive(text: str) -> int:
    """An integer of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1. Received: {value}")
    return value


def label(text: str) -> str:
    """A name that Kubernetes and Vertex AI take, too."""
    if not re.fullmatch("[a-z]([a-z0-9-]{0,48}[a-z0-9])?", text):
        raise argparse.ArgumentTypeError(
            "must be small letters, digits and hyphens, a letter first, at most 50. "
            f"Received: {text}"
        )
    return text
