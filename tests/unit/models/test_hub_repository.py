"""Models of a hub: what a download asks for, verifies and reports, with a server on this machine and with a cache alone."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from indexer.domain.errors import ModelUnavailable, MoodexError, UsageError
from indexer.domain.hub import HubReference, parse_reference
from models.hub.repository import cached_file, download, resolve
from tests.support import hub
from tests.support.hub import COMMIT, HubServer, serve_hub, write_cache

NAME = "Some/tagger"
MAIN = HubReference(NAME)


@pytest.fixture
def hf_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A HF_HOME of this test, and no connection. The package reads its environment when it is imported."""
    home = tmp_path / "hf"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    return home


@pytest.fixture
def served(hf_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A server with one tagger, as HF_ENDPOINT."""
    with serve_hub({NAME: hub.wd_files()}) as server:
        connect(server.url, monkeypatch)
        yield server


def connect(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")


def test_a_reference_names_a_repository_and_perhaps_a_revision() -> None:
    assert parse_reference("hf:SmilingWolf/wd-vit-tagger-v3") == ("SmilingWolf/wd-vit-tagger-v3", "main")
    assert parse_reference("hf:a/b@v2.0") == ("a/b", "v2.0")
    for wrong in ("hf:", "hf:a", "hf:a/b/c", "hf:a/b@", "hf:../b", "a/b", "hf:a/b@x y", "hf:a/b@../../c"):
        with pytest.raises(UsageError, match="does not name a repository"):
            parse_reference(wrong)


def test_a_repository_is_resolved_downloaded_and_verified(served: HubServer) -> None:
    repository = resolve(MAIN)
    assert (repository.commit, repository.license) == (COMMIT, "apache-2.0")
    assert repository.size_of(["model.onnx"]) == len(served.repositories[NAME]["model.onnx"])
    paths = download(repository, ["model.onnx", "selected_tags.csv"], quiet=True)
    assert paths["model.onnx"].read_bytes() == served.repositories[NAME]["model.onnx"]
    before = len(served.requests)
    assert download(repository, ["model.onnx"], quiet=True) == {"model.onnx": paths["model.onnx"]}
    assert not [path for method, path, _ in served.requests[before:] if method == "GET"], "the cache has it"


def test_an_interrupted_download_goes_on_where_it_ended(served: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 100_000)  # it is 10 MB, of which nothing is kept
    served.repositories[NAME]["model.onnx"] = bytes(range(256)) * 4000
    served.truncate_at = 300_000
    paths = download(resolve(MAIN), ["model.onnx"], quiet=True)
    assert paths["model.onnx"].read_bytes() == served.repositories[NAME]["model.onnx"]
    assert "bytes=300000-" in {given for _, _, given in served.requests}


def test_a_token_is_sent(served: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    resolve(MAIN)
    assert served.tokens == {"Bearer hf_secret"}


def test_a_gated_repository_says_how_to_get_access(served: HubServer) -> None:
    served.gated.add(NAME)
    with pytest.raises(ModelUnavailable, match="is gated: accept its conditions"):
        download(resolve(MAIN), ["model.onnx"], quiet=True)


def test_unknown_repositories_and_revisions_are_named(served: HubServer) -> None:
    with pytest.raises(ModelUnavailable, match="no repository Some/other"):
        resolve(HubReference("Some/other"))
    with pytest.raises(ModelUnavailable, match="no revision 'v9'"):
        resolve(HubReference(NAME, "v9"))


def test_a_server_that_fails_is_one_sentence(served: HubServer) -> None:
    served.fails = True
    with pytest.raises(ModelUnavailable, match=r"The hub does not serve Some/tagger: .*500.*\. Try again later\.$"):
        resolve(MAIN)


def test_a_connection_that_is_lost_before_a_download_is_one_sentence(served: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = resolve(MAIN)
    connect("http://127.0.0.1:9", monkeypatch)  # nobody listens there
    with pytest.raises(ModelUnavailable, match="is not in the cache, and the hub cannot be reached; run the command again"):
        download(repository, ["model.onnx"], quiet=True)


def test_a_file_that_the_hub_lists_and_lacks_is_named(served: HubServer) -> None:
    repository = resolve(MAIN)
    del served.repositories[NAME]["model.onnx"]
    with pytest.raises(ModelUnavailable, match="A file of Some/tagger is missing on the hub"):
        download(repository, ["model.onnx"], quiet=True)


def test_a_revision_that_changes_during_a_download_is_refused(served: HubServer) -> None:
    repository = resolve(MAIN)
    served.commit = "f" * 40
    with pytest.raises(ModelUnavailable, match="changed while it was downloaded"):
        download(repository, ["selected_tags.csv"], quiet=True)


def test_another_content_than_the_hub_names_is_refused(served: HubServer) -> None:
    repository = resolve(MAIN)
    path = download(repository, ["model.onnx"], quiet=True)["model.onnx"].resolve()
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(ModelUnavailable, match="is damaged: its digest is not that of the hub"):
        download(repository, ["model.onnx"], quiet=True)


def test_a_full_disk_is_one_sentence(served: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    with pytest.raises(MoodexError, match="the disk is full"):
        download(resolve(MAIN), ["model.onnx"], quiet=True)


def test_a_warm_cache_needs_no_connection(hf_home: Path) -> None:
    snapshot = write_cache(hf_home, NAME, hub.wd_files())
    repository = resolve(MAIN)
    assert (repository.commit, repository.license) == (COMMIT, "apache-2.0")
    assert resolve(HubReference(NAME, COMMIT)).commit == COMMIT
    assert download(repository, ["model.onnx"], quiet=True) == {"model.onnx": snapshot / "model.onnx"}
    assert cached_file(NAME, COMMIT, "config.json") == snapshot / "config.json"


def test_damage_in_the_cache_is_found_without_a_connection(hf_home: Path) -> None:
    snapshot = write_cache(hf_home, NAME, hub.wd_files())
    (snapshot / "selected_tags.csv").resolve().write_bytes(b"another")
    with pytest.raises(ModelUnavailable, match="is damaged"):
        download(resolve(MAIN), ["selected_tags.csv"], quiet=True)


def test_a_cold_cache_without_a_connection_is_one_sentence(hf_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelUnavailable, match="HF_HUB_OFFLINE is set, and the cache of the hub does not have Some/tagger"):
        resolve(MAIN)
    connect("http://127.0.0.1:9", monkeypatch)  # nobody listens there
    with pytest.raises(ModelUnavailable, match="cannot be reached .* does not have Some/tagger"):
        resolve(MAIN)
    write_cache(hf_home, NAME, hub.wd_files())
    assert resolve(MAIN).commit == COMMIT


def test_a_missing_file_of_an_installed_model_says_how_to_get_it(hf_home: Path) -> None:
    with pytest.raises(ModelUnavailable, match=f"moodex models add hf:Some/tagger@{COMMIT} --force"):
        cached_file(NAME, COMMIT, "model.onnx")
