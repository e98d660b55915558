"""`keras-dalle doctor`: what is here, what is missing, what mends it."""

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from keras_dalle.commands.progress import step

MARKS = {
    "ok": "[green]ok[/green]",
    "optional": "[yellow]optional[/yellow]",
    "missing": "[bold red]missing[/bold red]",
}


def doctor() -> None:
    """Show versions, devices, what is missing and the command that mends it."""
    with step("Looking around"):
        from keras_dalle.doctor import run_checks

        checks = run_checks()
    table = Table("")
    for heading in ("what", "found", "to mend it"):
        table.add_column(heading, overflow="fold")
    for check in checks:
        table.add_row(
            MARKS[check.state], *map(escape, (check.name, check.found, check.mend))
        )
    Console().print(table)
    if any(check.state == "missing" for check in checks):
        raise typer.Exit(1)
