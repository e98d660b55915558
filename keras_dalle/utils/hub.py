"""Repositories of the Hugging Face Hub, by its own client and in its own cache."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PREFIX = "hf://"


class HubError(ConnectionError):
    """The Hub does not give what was asked of it."""


@dataclass(frozen=True)
class HubRepository:
    """What `open_repository` found.

    Attributes:
        name: what the user asked for: a preset's name or a handle.
        handle: `hf://user/repository`.
        fault: why the Hub could not be reached, or `None` where it could.
    """

    name: str
    handle: str
    fault: Exception | None = None

    @property
    def repository_id(self) -> str:
        return self.handle.removeprefix(PREFIX)

    def fetch(self, patterns: Iterable[str]) -> Path:
        """The local folder with the files that match; what is missing is downloaded.

        Raises:
            HubError: the Hub cannot be reached, and its cache lacks one of them.
        """
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError

        try:
            folder = snapshot_download(
                self.repository_id,
                allow_patterns=list(patterns),
                local_files_only=self.fault is not None,
            )
        except (HTTPError, LocalEntryNotFoundError) as error:
            raise HubError(self._unreachable(self.fault or error)) from error
        return Path(folder)

    def _unreachable(self, fault: Exception) -> str:
        from huggingface_hub import constants

        folder = f"downloads/{self.repository_id.rpartition('/')[2]}"
        return (
            f"`{self.name}` must be downloaded ({self.handle}), but "
            f"{constants.ENDPOINT} could not be reached: {type(fault).__name__}: "
            f"{fault}\n"
            "Where there is a network, run\n"
            f"  hf download {self.repository_id} --local-dir {folder}\n"
            f"and use the folder {folder} in place of `{self.name}`; "
            "docs/checkpoints.md has more."
        )


def cached_folder(handle: str) -> Path:
    """Where the Hub's client keeps a repository that was downloaded before.

    Args:
        handle: `hf://user/repository`.

    Raises:
        FileNotFoundError: it was not.
    """
    from huggingface_hub import snapshot_download

    repository_id = handle.removeprefix(PREFIX)
    return Path(snapshot_download(repository_id, local_files_only=True))


def open_repository(name: str, handle: str) -> HubRepository:
    """Asks the Hub for a repository's config.json, once and without retries.

    The Hub's client itself tries for 23 seconds where there is no network.

    Args:
        name: what the user asked for, for messages.
        handle: `hf://user/repository`.

    Raises:
        HubError: there is no such repository for this user, or no config.json in it.
        ValueError: the handle has another form.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        HTTPError,
        OfflineModeIsEnabled,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
    )

    repository = HubRepository(name, handle)
    try:
        get_hf_file_metadata(hf_hub_url(repository.repository_id, "config.json"))
    except HFValidationError as error:
        raise ValueError(
            f"A handle must be {PREFIX}user/repository. Received: {handle}. {error}"
        ) from error
    except RepositoryNotFoundError as error:
        raise HubError(
            f"`{handle}` must be a repository that you may read. Received: one that "
            "does not exist, or is private or gated. For the latter, log in by "
            "`hf auth login`."
        ) from error
    except RemoteEntryNotFoundError as error:
        raise HubError(
            f"`{handle}` must hold a config.json, as KerasHub's presets and the "
            "originals' checkpoints do. Received: a repository without one."
        ) from error
    except (HfHubHTTPError, HTTPError, OfflineModeIsEnabled) as error:
        return HubRepository(name, handle, fault=error)
    return repository
