"""What `generate` and `client` are asked for, whichever model draws it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from keras_dalle.commands import streaming
from keras_dalle.commands.given_pictures import GivenPicture, known_tokens_of
from keras_dalle.commands.options import MAX_PICTURES
from keras_dalle.commands.outputs import Output, output_of, write_pictures
from keras_dalle.commands.progress import console
from keras_dalle.commands.prompt_notes import prompts_told
from keras_dalle.commands.ranking import Best, best_requests
from keras_dalle.commands.streaming import Views

if TYPE_CHECKING:
    from keras_dalle.commands.prompt_files import Entry
    from keras_dalle.utils.picture_metadata import PresetIdentity


@dataclass(frozen=True)
class Job:
    """Pictures to draw.

    Attributes:
        prompts: of the command line.
        prompts_file: in their place.
        negative_prompt: where an entry of the file has none.
        options: the command's options by name. Those among them that are parameters
            of generation, and not left open, replace the model's own.
        num_images: pictures a prompt.
        given: a picture to complete or to vary.
        views: what is shown of pictures while they are drawn.
        best: how many are drawn to choose among.
    """

    prompts: Sequence[str]
    prompts_file: Path | None
    negative_prompt: str
    options: Mapping[str, Any]
    num_images: int
    given: GivenPicture
    views: Views
    best: Best

    def output(self, text: str, folder_format: str | None, labels: bool) -> Output:
        """Where the pictures go, after a check of all that needs no model.

        Args:
            text: `-o` as it was typed.
            folder_format, labels: as of `output_of`.

        Raises:
            typer.BadParameter, ValueError: options do not go together.
        """
        if bool(self.prompts) == (self.prompts_file is not None):
            raise typer.BadParameter(
                "Give either PROMPTS or --prompts-file. Received: "
                f"{'both' if self.prompts else 'neither'}."
            )
        self.best.check(self.num_images)
        if self.prompts:
            self.given.check()
        columns = max(self.num_images, self.best.keep)
        output = output_of(
            text,
            folder_format,
            columns=columns if columns > 1 else None,
            labels=labels,
            replace=self.prompts_file is not None,
        )
        if self.prompts_file is not None and not output.is_folder:
            raise typer.BadParameter(
                f"--prompts-file draws into a folder: -o FOLDER/. Received: -o {text}"
            )
        self.views.check(output)
        return output

    def entries(self) -> "Sequence[Entry]":
        """Returns the prompts, with a file's fields, after a check of all inputs.

        Raises:
            OSError, ValueError: the file cannot be read, or a value is out of range.
        """
        from keras_dalle.commands.drawing import given_parameters
        from keras_dalle.commands.prompt_files import check_inputs, entries_of

        check_inputs([given_parameters(self.options)])
        if self.prompts_file is not None:
            return self._entries_of_file(self.prompts_file)
        return entries_of(self.prompts)

    def _entries_of_file(self, path: Path) -> "Sequence[Entry]":
        from keras_dalle.commands.prompt_files import read_prompts_file
        from keras_dalle.commands.prompt_formats import name_of

        read = read_prompts_file(path)
        if read.num_comments:
            console.print(
                f"Skipped comments, lines of {name_of(path)} that begin with #: "
                f"{read.num_comments}.",
                markup=False,
                soft_wrap=True,
            )
        counts = [entry.num_images or self.num_images for entry in read.entries]
        for count in counts:
            self.best.check(count)
        if sum(counts) > MAX_PICTURES:
            raise ValueError(
                f"A prompts file must ask for at most {MAX_PICTURES:,} pictures. "
                f"Received: {sum(counts):,} in {name_of(path)}. Split the file."
            )
        return read.entries

    def draw(
        self,
        entries: "Sequence[Entry]",
        model: Any,
        output: Output,
        identity: "PresetIdentity",
    ) -> None:
        """Draws and writes the pictures.

        Args:
            entries: what `entries` gave.
            model: a `DalleBartTextToImage`, or a `ServedModel`.
            output: what `output` gave.
            identity: of the model, for the files.
        """
        from keras_dalle.commands.drawing import drawer_of, given_parameters
        from keras_dalle.commands.prompt_files import requests_of

        requests = requests_of(
            entries,
            self.negative_prompt,
            {**model.generation_defaults, **given_parameters(self.options)},
            self.num_images,
            known_tokens_of(model, self.given),
        )
        with prompts_told(model, requests):
            requests = best_requests(
                model, requests, self.best, keep_going=output.is_folder
            )
            if self.views:
                streaming.write_streaming(model, requests, output, identity, self.views)
            else:
                write_pictures(requests, output, drawer_of(model), identity)
        typer.echo(output.path)
