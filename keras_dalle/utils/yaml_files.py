"""Reading YAML that comes from outside."""

import os
from typing import Any

import yaml

from keras_dalle.utils.files import read_limited_text, require_regular_file
from keras_dalle.utils.foreign_values import described

# taming-transformers' configurations have 2 KB, and PyYAML reads 0.1 MB a second.
MAX_YAML_BYTES = 2**19


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader without aliases.

    40 levels of aliases, in 1 KB, stand for more values than a computer can read.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.composer.ComposerError(
                None, None, "aliases (`*name`) are not read here", event.start_mark
            )
        return super().compose_node(parent, index)


def read_yaml(path: str | os.PathLike) -> Any:
    """Reads a YAML file. Tags that would build Python objects are errors.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not YAML in UTF-8, has aliases, is nested too deeply or too
            large; the message names the file.
    """
    require_regular_file(path)
    text = read_limited_text(path, MAX_YAML_BYTES)
    # On values like `!!int ""` PyYAML raises IndexError, KeyError or AttributeError.
    try:
        return yaml.load(text, Loader=_Loader)
    except Exception as error:
        raise ValueError(
            f"{os.fspath(path)} is not valid YAML ({described(error)}). Write out what "
            "aliases stand for, or copy or download the file again."
        ) from error
