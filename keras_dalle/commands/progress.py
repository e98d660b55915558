"""Progress on the terminal, on standard error so that results can be piped."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

console = Console(stderr=True, highlight=False)


@contextmanager
def step(description: str) -> Iterator[None]:
    """Shows `description` with a spinner while the block runs, and then a tick."""
    with console.status(description):
        yield
    console.print(f"[green]✓[/green] {description}")
