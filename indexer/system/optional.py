"""Packages that only some commands need."""

from __future__ import annotations

from importlib.util import find_spec

from indexer.domain.errors import MissingExtra

TORCH = ("torch", "torchvision")
"""The packages that `requirements-lite.txt` leaves out."""


def require(module: str, package: str, extra: str, purpose: str) -> None:
    """Check that a module is installed. Raises MissingExtra.

    `package` and `extra` are the names to install, `purpose` is the feature that needs the module.
    """
    if find_spec(module) is None:
        raise MissingExtra(f"{purpose} needs the package {package}: {install_command(package, extra)}")


def require_torch(purpose: str, extra: str | None = None) -> None:
    """Check that PyTorch is installed, which the lite form of moodex lacks. Raises MissingExtra.

    `purpose` is the feature that needs it; `extra` is the extra of moodex that the feature needs too.
    """
    if not has_torch():
        packages = f"'moodex[{extra}]'" if extra else " ".join(TORCH)
        raise MissingExtra(f"{purpose} needs PyTorch, which the lite form of moodex lacks: pip install {packages}")


def install_command(package: str, extra: str) -> str:
    """Return the command that installs a package of an extra. In the lite form, the extra itself would install PyTorch too.

    Both may be several: packages with spaces between them, extras with commas.
    """
    wanted = f"'moodex[{extra}]'" if has_torch() else package
    return f"pip install {wanted}"


def has_torch() -> bool:
    """Return whether PyTorch is installed, without its import, which takes seconds."""
    return all(find_spec(module) is not None for module in TORCH)
