"""The stock server's flags on the command line of `keras-dalle serve`.

Made from the fields of `ServerOptions`, each with its default and help.
"""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand

from keras_dalle.prediction_service.options import ServerOptions
from keras_dalle.prediction_service.stock_only_flags import STOCK_ONLY_FLAGS, refusal

FIELDS = dataclasses.fields(ServerOptions)
SWITCHES = {f.name: f.default for f in FIELDS if isinstance(f.default, bool)}
TRUE, FALSE = ("true", "1", "t", "yes"), ("false", "0", "f", "no")
OFF = "--no"


# Where a context keeps the flags that only the stock server follows.
STOCK_ONLY = "keras_dalle.stock_only_flags"


class StockFlagsCommand(TyperCommand):
    """Takes `--enable_batching=true` and `=false` too, as the stock server does."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        stock_only = ctx.meta.setdefault(STOCK_ONLY, [])
        own = []
        for argument in args:
            name, is_given, value = argument.removeprefix("--").partition("=")
            if argument.startswith("--") and name in STOCK_ONLY_FLAGS:
                value = value if is_given else TRUE[0]
                if text := refusal(name, value):
                    raise typer.BadParameter(text, ctx=ctx)
                stock_only.append(f"--{name}={value}")
            else:
                own += _words(argument)
        return super().parse_args(ctx, own)


def with_stock_flags(command: Callable) -> Callable:
    """Gives a command a parameter for each field, in place of its `**flags`."""
    hints = get_type_hints(ServerOptions)
    parameters = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=Annotated[hints[field.name], _option(field)],
        )
        for field in FIELDS
    ]
    signature = inspect.signature(command)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    command.__signature__ = signature.replace(parameters=[*own, *parameters])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in [*own, *parameters]}
    return command


def _option(field: dataclasses.Field) -> Any:
    # A switch that is on has a name that turns it off.
    names = f"--{field.name}" + (f"/{OFF}{field.name}" if field.default is True else "")
    return typer.Option(
        names,
        help=field.metadata["help"],
        min=field.metadata.get("min"),
        max=field.metadata.get("max"),
    )


def _words(argument: str) -> list[str]:
    """An argument as Click takes it, without the value of a switch."""
    flag, _, value = argument.partition("=")
    name = flag.removeprefix("--")
    if name not in SWITCHES or value.lower() not in TRUE + FALSE:
        return [argument]
    if value.lower() in TRUE:
        return [flag]
    return [f"{OFF}{name}"] if SWITCHES[name] else []
