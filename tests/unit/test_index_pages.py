"""Pages that list a folder of a web server."""

from __future__ import annotations

import pytest

from indexer.domain.errors import Unreadable
from indexer.sources.remote import index_pages
from indexer.sources.remote.index_pages import parse_index_page
from indexer.sources.remote.webdav import parse_listing

URL = "http://host/my%20comics/"

APACHE = """<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN"><html><head><title>Index of /my comics</title></head><body>
<h1>Index of /my comics</h1><table><tr><th><a href="?C=N;O=D">Name</a></th></tr>
<tr><td><a href="/">Parent Directory</a></td></tr><tr><td><a href="a%20b.png">a b.png</a></td><td>2026-01-01 10:00</td></tr>
<tr><td><a href="ch1/">ch1/</a></td></tr></table></body></html>"""
NGINX = """<html><head><title>Index of /my comics/</title></head><body><h1>Index of /my comics/</h1><hr><pre><a href="../">../</a>
<a href="ch1/">ch1/</a>   01-Jan-2026 10:00   -
<a href="a%20b.png">a b.png</a>   01-Jan-2026 10:00   123</pre></body></html>"""
PYTHON = """<!DOCTYPE HTML><html lang="en"><head><meta charset="utf-8"><title>Directory listing for /my%20comics/</title></head>
<body><h1>Directory listing for /my%20comics/</h1><ul>
<li><a href="a%20b.png">a b.png</a></li><li><a href="ch1/">ch1/</a></li></ul>
</body></html>"""
ABSOLUTE = """<title>index of x</title><a href="/my%20comics/a%20b.png">a</a><a href="http://HOST/my comics/ch1/">b</a>"""


@pytest.mark.parametrize("page", [APACHE, NGINX, PYTHON, ABSOLUTE])
def test_the_pages_of_common_servers_are_read(page: str) -> None:
    assert parse_index_page(page, URL) == ({b"a b.png"}, {b"ch1"})


@pytest.mark.parametrize(
    "link",
    [
        "../x.png",
        "/x.png",
        "//other/my%20comics/x.png",
        "https://host/my%20comics/x.png",
        "http://host:81/my%20comics/x.png",
        "a/b.png",
        "..%2Fx.png",
        "%2e%2e/",
        "%2e%2e",
        ".",
        "./",
        "",
        "#top",
        "?x.png",
        "x.png?y=1",
        "javascript:x.png",
        "mailto:x@y.png",
        "a%00.png",
        "http://[x.png",
        "file:///x.png",
        "\\\\other\\x.png%2F",
    ],
)
def test_only_names_directly_in_the_folder_count(link: str) -> None:
    assert parse_index_page(f'<title>Index of /</title><a href="{link}">x</a>', URL) == (set(), set())


def test_any_other_page_is_no_listing() -> None:
    with pytest.raises(Unreadable, match="not a listing"):
        parse_index_page('<title>Log in</title><a href="x.png">x</a>', URL)


def test_too_many_links_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_pages, "MAX_ENTRIES", 3)
    links = "".join(f'<a href="{number}.png">x</a>' for number in range(4))
    with pytest.raises(Unreadable, match="more than 3 files"):
        parse_index_page(f"<title>Index of /</title>{links}", URL)


@pytest.mark.parametrize("text", ["", "<html></html>", "<a", '<!DOCTYPE x [<!ENTITY y SYSTEM "file:///etc/passwd">]><x>&y;</x>'])
def test_an_answer_without_a_multistatus_is_no_webdav_listing(text: str) -> None:
    with pytest.raises(Unreadable):
        list(parse_listing(text.encode(), URL))


def test_a_webdav_resource_outside_of_the_folder_is_ignored() -> None:
    hrefs = ["/my%20comics/", "/my%20comics/a.png", "/other/b.png", "http://other/my%20comics/c.png", "/my%20comics/d/e.png"]
    text = "".join(f"<response><href>{href}</href></response>" for href in hrefs)
    listing = f'<multistatus xmlns="DAV:">{text}</multistatus>'.encode()
    assert [resource.name for resource in parse_listing(listing, URL)] == [b"a.png"]
