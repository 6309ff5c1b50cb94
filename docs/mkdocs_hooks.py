"""MkDocs hooks that add pages from outside docs/ to the site and rewrite links to them.

The changelog, CONTRIBUTING.md and the benchmark results stay where readers of the repository expect them. Links in Markdown are
written for the tree of the repository; the site has the same tree with `docs/` as its root.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mkdocs.structure.files import File, InclusionLevel

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE_PATTERNS = ("CHANGELOG.md", "CONTRIBUTING.md", "bench/results/**/*.md", "bench/results/**/*.png", "bench/results/*.json")
_LINK = re.compile(r"(?<=\]\()[^)\s]+(?=\))")


def on_files(files: Any, config: Any) -> Any:
    """Add the files of `OUTSIDE_PATTERNS` under their paths in the repository."""
    for pattern in OUTSIDE_PATTERNS:
        for path in sorted(ROOT.glob(pattern)):
            uri = path.relative_to(ROOT).as_posix()
            inclusion = InclusionLevel.INCLUDED if "/" not in uri else InclusionLevel.NOT_IN_NAV
            files.append(File.generated(config, uri, abs_src_path=str(path), inclusion=inclusion))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Rewrite the relative links of a page from the tree of the repository to that of the site."""
    uri = page.file.src_uri
    path = uri if page.file.generated_by else f"docs/{uri}"
    return _LINK.sub(lambda match: site_link(match[0], path), markdown)


def site_link(link: str, page: str) -> str:
    """Return a link of the file `page` (its path in the repository) as the site needs it.

    `docs/` becomes the root; all other paths stay. Links with a scheme and links within a page are returned unchanged.
    """
    path, anchor = link.partition("#")[::2]
    if urlsplit(link).scheme or not path:
        return link
    target = posixpath.normpath(posixpath.join(posixpath.dirname(page), path))
    folder = posixpath.dirname(page.removeprefix("docs/")) or "."
    return posixpath.relpath(target.removeprefix("docs/"), folder) + (f"#{anchor}" if anchor else "")
