"""The scripts, styles and icons of the page. Their addresses contain a version, so that a browser may keep them forever."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blake3 import blake3
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from web.answers import FOREVER

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request

SHEETS = ("base", "controls", "header", "grid", "viewer", "map", "pages")
"""The style sheets, in the order in which they apply."""

_FOLDER = Path(__file__).parent / "static"
_FIRST_SCRIPT = "main.js"
_VERSION_DIGITS = 16
_STATIC_IMPORT = re.compile(r'^import [^;"]*"\./([a-z-]+\.js)";', re.MULTILINE)
"""An import that a browser follows before it runs a script; `import(…)` inside a function is none."""


class Assets:
    """The files of the page as this process found them; after a change of a file, start the server again."""

    def __init__(self, folder: Path = _FOLDER) -> None:
        self._folder = folder

    @cached_property
    def version(self) -> str:
        """The digest of all files, which is part of their addresses."""
        digest = blake3()
        for path in sorted(self._folder.rglob("*.*")):
            digest.update(path.relative_to(self._folder).as_posix().encode() + b"\0")
            digest.update(path.read_bytes())
        return digest.hexdigest()[:_VERSION_DIGITS]

    @property
    def base(self) -> str:
        """The beginning of the addresses of all files, without a slash at the end."""
        return f"/static/{self.version}"

    @cached_property
    def first_scripts(self) -> list[str]:
        """The names of the scripts that a browser loads before the page works: the first script, and all that it imports."""
        found = [_FIRST_SCRIPT]
        for name in found:  # grows on the way
            text = (self._folder / "js" / name).read_text(encoding="utf-8")
            found += [one for one in _STATIC_IMPORT.findall(text) if one not in found]
        return found

    @cached_property
    def sheet(self) -> bytes:
        """All style sheets as one: a browser waits for each of them before it draws anything."""
        return b"\n".join((self._folder / "css" / f"{name}.css").read_bytes() for name in SHEETS)

    def serve_with(self, app: Starlette) -> None:
        """Let an application answer requests for the files."""
        app.add_route(f"{self.base}/page.css", self._sheet, include_in_schema=False)
        app.mount(self.base, _Forever(directory=self._folder), name="static")

    def _sheet(self, _request: Request) -> Response:
        return Response(self.sheet, media_type="text/css", headers={"Cache-Control": FOREVER})


class _Forever(StaticFiles):
    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = FOREVER
        return response
