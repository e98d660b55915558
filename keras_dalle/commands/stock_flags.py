"""The stock server's flags on the command line of `keras-dalle serve`.

They are made from the fields of `ServerOptions`, with default and help, and are read
as the stock server reads them.
"""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand

from keras_dalle.prediction_service.options import PATHS, ServerOptions
from keras_dalle.prediction_service.stock_only_flags import STOCK_ONLY_FLAGS, refusal
from keras_dalle.utils.foreign_values import shortened

FIELDS = dataclasses.fields(ServerOptions)
SWITCHES = {field.name for field in FIELDS if isinstance(field.default, bool)}
TRUE, FALSE = "true", "false"
# Where a context keeps the flags that only the stock server follows.
STOCK_ONLY = "keras_dalle.stock_only_flags"


class StockFlagsCommand(TyperCommand):
    """Reads switches, empty values and other flags' names as the stock server does."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        stock_only = ctx.meta.setdefault(STOCK_ONLY, {})
        own = []
        words = iter(args)
        for word in words:
            name, is_given, value = word.removeprefix("--").partition("=")
            if not word.startswith("--"):
                own.append(word)
            elif name in STOCK_ONLY_FLAGS:
                if not is_given:
                    value = (
                        TRUE if STOCK_ONLY_FLAGS[name].is_switch else next(words, "")
                    )
                if text := refusal(name, value):
                    raise typer.BadParameter(text, ctx=ctx)
                stock_only[name] = value
            elif name in SWITCHES and not is_given:
                own.append(f"{word}={TRUE}")
            else:
                own.append(word)
        return super().parse_args(ctx, own)


def with_stock_flags(command: Callable) -> Callable:
    """Gives a command a parameter for each field, in place of its `**flags`."""
    hints = get_type_hints(ServerOptions)
    parameters = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=_annotation(field, hints[field.name]),
        )
        for field in FIELDS
    ]
    signature = inspect.signature(command)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    command.__signature__ = signature.replace(parameters=[*own, *parameters])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in [*own, *parameters]}
    return command


def _annotation(field: dataclasses.Field, hint: Any) -> Any:
    """Returns the type of a parameter, with its option."""
    if field.name in SWITCHES:
        # For a bool, Click makes a flag that takes no value.
        return Annotated[str, _option(field, parser=_switch, metavar=f"{TRUE}|{FALSE}")]
    if field.name in PATHS:
        return Annotated[str | None, _option(field, parser=_path, metavar="PATH")]
    return Annotated[hint, _option(field)]


def _option(field: dataclasses.Field, **settings: Any) -> Any:
    return typer.Option(
        f"--{field.name}",
        help=field.metadata["help"],
        min=field.metadata.get("min"),
        max=field.metadata.get("max"),
        **settings,
    )


def _switch(value: str | bool) -> bool:
    """Reads a switch's value, in the two spellings that the stock server reads."""
    if isinstance(value, bool):
        return value
    if value not in (TRUE, FALSE):
        raise ValueError(
            f"a switch is given alone, as ={TRUE} or as ={FALSE}. Received: "
            f"{shortened(value)}"
        )
    return value == TRUE


def _path(value: str) -> str | None:
    """Returns a path's text, or none if it is empty, as the stock server does."""
    return value or None
