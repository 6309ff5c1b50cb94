"""Repositories of a hub: resolved to a commit, downloaded into the cache of the hub, and verified.

All access goes through huggingface_hub, which honours HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE and tokens, and resumes downloads.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from indexer.domain.errors import DISK_ERRNOS, ModelUnavailable, disk_error
from indexer.system.optional import require
from models.hub.front_matter import license_of

if TYPE_CHECKING:
    from indexer.domain.hub import HubReference

EXTRA = "hub"
"""The extra of moodex that installs huggingface_hub."""

README = "README.md"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_TIMEOUT_SECONDS = 10.0
_CHUNK_BYTES = 1 << 20
_GIT, _LFS = 40, 64
"""Hex digits of the digests by which a hub names its files: Git's SHA-1, and SHA-256 for large files."""


class RemoteFile(NamedTuple):
    """A file of a repository: its size in bytes, and the hex digest by which the hub names it; None if unknown."""

    size: int | None
    digest: str | None


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository at a commit.

    - `name`: OWNER/NAME. `commit`: 40 hex digits. `requested`: the branch, tag or commit that the user named.
    - `files`: by name. Without a connection, only those in the cache.
    - `license`: as its card names it; "" if it names none.
    """

    name: str
    commit: str
    requested: str
    files: Mapping[str, RemoteFile]
    license: str = ""

    def size_of(self, names: Collection[str]) -> int:
        """Return the size of some files in bytes."""
        return sum(self.files[name].size or 0 for name in names)


def require_hub() -> None:
    """Raise MissingExtra if huggingface_hub is not installed."""
    require("huggingface_hub", "huggingface_hub", EXTRA, "A model of a hub")


def resolve(reference: HubReference) -> Repository:
    """Return a repository at the commit that a reference names, from the hub or, without a connection, from the cache.

    Raises ModelUnavailable for a repository or revision that does not exist or is not accessible, and if neither the hub can be
    reached nor the cache has the revision; MissingExtra.
    """
    require_hub()
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        return _cached(reference, "HF_HUB_OFFLINE is set")
    with _explained(reference):
        try:
            api = HfApi(library_name="moodex")
            info = api.model_info(
                reference.repository, revision=reference.revision, files_metadata=True, timeout=_TIMEOUT_SECONDS
            )
        except _connection_errors() as error:
            return _cached(reference, f"{constants.ENDPOINT} cannot be reached ({type(error).__name__})")
    files = {file.rfilename: RemoteFile(file.size, file.lfs.sha256 if file.lfs else file.blob_id) for file in info.siblings or ()}
    license = getattr(info.card_data, "license", None) or ""
    return Repository(reference.repository, str(info.sha), reference.revision, files, str(license))


def download(repository: Repository, names: Collection[str], quiet: bool = False) -> dict[str, Path]:
    """Return the paths of some files in the cache of the hub; those that are missing there are downloaded, and all verified.

    Raises ModelUnavailable for a damaged file, a changed revision, and without a connection; MoodexError if the disk is full.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if quiet:
        disable_progress_bars()
    paths: dict[str, Path] = {}
    for name in names:
        with _explained(repository):
            # The revision that the user named, so that the cache knows it without a connection.
            path = hf_hub_download(
                repository.name, name, revision=repository.requested, library_name="moodex", etag_timeout=_TIMEOUT_SECONDS
            )
        paths[name] = Path(path)
        if not Path(path).is_relative_to(_snapshot(repository.name, repository.commit)):
            raise ModelUnavailable(
                f"The revision {repository.requested!r} of {repository.name} changed while it was downloaded; "
                "run the command again."
            )
        _verify(repository, name, paths[name])
    return paths


def cached_file(repository: str, commit: str, name: str) -> Path:
    """Return the path of a file in the cache of the hub. Raises ModelUnavailable if it is not there, and MissingExtra."""
    require_hub()
    path = _snapshot(repository, commit) / name
    if not path.is_file():
        raise ModelUnavailable(
            f"The file {name} of {repository} is not in the cache of the hub; download it again: "
            f"moodex models add hf:{repository}@{commit} --force"
        )
    return path


def _snapshot(repository: str, commit: str) -> Path:
    from huggingface_hub import constants  # not file_download, whose import takes longer than a search

    return Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "snapshots" / commit


def _cached(reference: HubReference, why: str) -> Repository:
    """Return a repository as the cache has it. `why` is the reason why the hub was not asked."""
    commit = reference.revision
    if not _COMMIT.fullmatch(commit):
        pointer = _snapshot(reference.repository, "").parent / "refs" / commit
        commit = pointer.read_text(encoding="ascii").strip() if pointer.is_file() else ""
    folder = _snapshot(reference.repository, commit)
    if not _COMMIT.fullmatch(commit) or not folder.is_dir():
        raise ModelUnavailable(
            f"{why}, and the cache of the hub does not have {reference.repository} at {reference.revision!r}; "
            "run the command again with a connection."
        )
    files = {str(path.relative_to(folder).as_posix()): path for path in folder.rglob("*") if path.is_file()}
    license = license_of(files[README].read_text(encoding="utf-8", errors="replace")) if README in files else ""
    remote = {name: RemoteFile(path.stat().st_size, _name_of_blob(path)) for name, path in files.items()}
    return Repository(reference.repository, commit, reference.revision, remote, license)


def _name_of_blob(path: Path) -> str | None:
    """Return the digest by which the cache names a file; None where links are not supported, so that names are lost."""
    name = path.resolve().name
    return name if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", name) else None


def _verify(repository: Repository, name: str, path: Path) -> None:
    """Raise ModelUnavailable if a file does not have the size and the digest that the hub names."""
    expected = repository.files[name]
    digest = None if expected.digest is None else _DIGESTS[len(expected.digest)](path)
    if digest != expected.digest or expected.size not in (None, path.stat().st_size):
        raise ModelUnavailable(
            f"The file {name} of {repository.name} is damaged: its digest is not that of the hub. Delete {path.resolve()}, "
            "and run the command again."
        )


def _git_digest(path: Path) -> str:
    return _digest(path, hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False))


def _digest(path: Path, digest: hashlib._Hash) -> str:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


_DIGESTS: dict[int, Callable[[Path], str]] = {_GIT: _git_digest, _LFS: lambda path: _digest(path, hashlib.sha256())}


def _connection_errors() -> type[Exception]:
    """Return the class of the errors of the HTTP client which mean that a hub cannot be reached."""
    from huggingface_hub import utils

    client = import_module(type(utils.get_session()).__module__.partition(".")[0])  # type: ignore[attr-defined]
    error: type[Exception] = client.TransportError
    return error


@contextmanager
def _explained(what: HubReference | Repository) -> Iterator[None]:
    """Turn the errors of huggingface_hub into one sentence each."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name = what.repository if hasattr(what, "repository") else what.name
    try:
        yield
    except GatedRepoError as error:
        raise ModelUnavailable(
            f"{name} is gated: accept its conditions on its page, and log in with: hf auth login (or set HF_TOKEN)."
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelUnavailable(
            f"There is no repository {name} on the hub, or it is private; check the name, or log in with: hf auth login"
        ) from error
    except RevisionNotFoundError as error:
        revision = what.revision if hasattr(what, "revision") else what.requested
        raise ModelUnavailable(f"The repository {name} has no revision {revision!r}; name a branch, tag or commit.") from error
    except LocalEntryNotFoundError as error:
        raise ModelUnavailable(
            f"A file of {name} is not in the cache, and the hub cannot be reached; run the command again with a connection."
        ) from error
    except EntryNotFoundError as error:
        raise ModelUnavailable(f"A file of {name} is missing on the hub: {_first_line(error)}.") from error
    except (HfHubHTTPError, _connection_errors()) as error:
        raise ModelUnavailable(f"The hub does not serve {name}: {_first_line(error)}. Try again later.") from error
    except OSError as error:
        if error.errno in DISK_ERRNOS:
            raise disk_error("The cache of the hub", error) from error
        raise ModelUnavailable(f"The download of {name} failed: {_first_line(error)}. Run the command again.") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")[:200]
