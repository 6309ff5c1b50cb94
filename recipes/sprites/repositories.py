"""Files of repositories at a commit, and of npm packages, without a checkout."""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

ReadFile = Callable[[str], bytes]
"""Return the bytes of a file, by its path in the repository. Raises MissingSource."""


class MissingSource(Exception):
    """A repository, a commit or a file that is not there."""


def open_source(clones: Path, repository: str, commit: str) -> ReadFile:
    """Return the function that reads files of a repository, or of a package for npm:PACKAGE.

    The clone of OWNER/NAME is CLONES/OWNER+NAME, bare or not. A package is the archive that `npm pack PACKAGE@VERSION` writes
    into CLONES. Raises MissingSource.
    """
    if package := repository.removeprefix("npm:") if repository.startswith("npm:") else "":
        return _open_package(clones, package, commit)
    return _open_clone(clones / repository.replace("/", "+"), repository, commit)


def _open_clone(clone: Path, repository: str, commit: str) -> ReadFile:
    git_folder = clone / ".git" if (clone / ".git").exists() else clone
    git = ["git", "--git-dir", str(git_folder), "cat-file"]
    if subprocess.run([*git, "-e", f"{commit}^{{commit}}"], capture_output=True, check=False).returncode:
        raise MissingSource(
            f"The commit {commit} of {repository} is not in {clone}. "
            f"Run: git clone --bare https://github.com/{repository} {clone}"
        )

    def read(path: str) -> bytes:
        result = subprocess.run([*git, "blob", f"{commit}:{path}"], capture_output=True, check=False)
        if result.returncode:
            raise MissingSource(f"{repository} has no file {path} at the commit {commit}.")
        return result.stdout

    return read


def _open_package(clones: Path, package: str, version: str) -> ReadFile:
    archive_path = clones / f"{package.removeprefix('@').replace('/', '-')}-{version}.tgz"
    if not archive_path.is_file():
        raise MissingSource(f"The package {package} is not in {clones}. Run there: npm pack {package}@{version}")
    with tarfile.open(archive_path) as archive:
        files = {member.name: file.read() for member in archive if (file := archive.extractfile(member)) is not None}

    def read(path: str) -> bytes:
        try:
            return files[f"package/{path}"]
        except KeyError:
            raise MissingSource(f"{package} {version} has no file {path}.") from None

    return read
