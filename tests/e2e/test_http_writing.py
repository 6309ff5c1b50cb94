"""The routes of the HTTP API that change something: labels, hidden images, runs, teaching, checks and collections."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from indexer.settings import Settings
from tests.e2e.conftest import EXAMPLES, run_cli
from tests.support.further_formats import svg
from tests.support.library import opened
from tests.support.web import API, answer, browsing, finished, problem
from web import schemas

UNKNOWN = "ab" * 32


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of some example images, with two of the same name and one with a hostile name."""
    folder = tmp_path / "pictures"
    names = {
        "lorelei/lorelei-01.png": "a/01.png",
        "lorelei/lorelei-03.png": "b/01.png",
        "fluent-emoji/fluent-01.png": "<script>alert(1)</script>&\"'.png",
        "fluent-emoji/fluent-03.png": os.fsdecode(b"caf\xe9\n.png"),
        "kawaii/kawaii-01.png": "kawaii.png",
        "kawaii/kawaii-02.png": "other.png",
    }
    for source, name in names.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(EXAMPLES / source, target)
    return folder


@pytest.fixture
def client(home: Path, pictures: Path) -> Iterator[TestClient]:
    assert run_cli(home, "index", pictures).returncode == 0
    with browsing(home) as opened_client:
        yield opened_client


def hits(client: TestClient, **words: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(f"{API}/images", params={"limit": 200, **words}).json()["hits"]
    return found


def labels(client: TestClient) -> dict[str, str]:
    return {one["image_id"]: one["label"] for one in answer(client.get(f"{API}/labels"), schemas.Labels)["labels"]}


def test_labels_are_set_removed_and_undone(client: TestClient) -> None:
    first, second, third = (hit["image_id"] for hit in hits(client)[:3])
    body = {"image_ids": [first, second], "emotion": "joyful"}
    changed = answer(client.put(f"{API}/labels", json=body), schemas.Changed)
    assert (changed["changed"], changed["unchanged"]) == (2, 0)
    assert labels(client) == {first: "happy", second: "happy"}
    assert {hit["image_id"] for hit in hits(client) if hit.get("label") == "happy"} == {first, second}
    again = client.put(f"{API}/labels", json={"image_ids": [first, third], "emotion": "sad"}).json()
    assert answer(client.post(f"{API}/labels/undo", json={"undo": again["undo"]}), schemas.Changed)["changed"] == 2
    assert labels(client) == {first: "happy", second: "happy"}
    removed = client.put(f"{API}/labels", json={"image_ids": [first], "emotion": None}).json()
    assert removed["changed"] == 1
    assert labels(client) == {second: "happy"}
    client.post(f"{API}/labels/undo", json={})
    assert labels(client) == {first: "happy", second: "happy"}
    client.post(f"{API}/labels/undo", json={})
    assert labels(client) == {}
    assert problem(client.post(f"{API}/labels/undo", json={}), 404)


def test_labels_are_listed_page_by_page(client: TestClient) -> None:
    ids = [hit["image_id"] for hit in hits(client)]
    client.put(f"{API}/labels", json={"image_ids": ids, "emotion": "sad"})
    listed, cursor = [], None
    while True:
        page = client.get(f"{API}/labels", params={"limit": 4} | ({"cursor": cursor} if cursor else {})).json()
        assert page["total"] == len(ids)
        listed += [one["image_id"] for one in page["labels"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert sorted(listed) == sorted(ids)


def test_own_emotions_need_a_confirmation(client: TestClient) -> None:
    first = hits(client)[0]["image_id"]
    body = {"image_ids": [first], "emotion": "smug"}
    assert "Unknown emotion" in problem(client.put(f"{API}/labels", json=body), 400)
    assert labels(client) == {}
    client.put(f"{API}/labels", json={**body, "new": True})
    assert labels(client) == {first: "smug"}
    counted = {one["emotion"]: one for one in client.get(f"{API}/emotions").json()["emotions"]}
    assert (counted["smug"]["count"], counted["smug"]["own"]) == (1, True)
    assert [hit["image_id"] for hit in hits(client, emotion="smug")] == [first]


def test_a_label_of_an_unknown_image_changes_nothing(client: TestClient) -> None:
    first = hits(client)[0]["image_id"]
    assert problem(client.put(f"{API}/labels", json={"image_ids": [first, UNKNOWN], "emotion": "sad"}), 404)
    assert labels(client) == {}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"image_ids": [], "emotion": "sad"},
        {"image_ids": ["/etc/passwd"], "emotion": "sad"},
        {"image_ids": [UNKNOWN]},
        {"image_ids": [UNKNOWN], "emotion": ""},
        {"image_ids": [UNKNOWN], "emotion": "sad", "path": "/etc"},
        {"image_ids": [UNKNOWN] * 10_001, "emotion": "sad"},
        {"image_ids": UNKNOWN, "emotion": "sad"},
        [],
        None,
    ],
)
def test_bodies_of_the_wrong_form(client: TestClient, body: Any) -> None:
    assert problem(client.put(f"{API}/labels", json=body), 422)


def test_a_body_must_say_that_it_is_json(client: TestClient) -> None:
    content = json.dumps({"image_ids": [UNKNOWN], "emotion": "sad"})
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert problem(client.put(f"{API}/labels", content=content, headers={"content-type": kind}), 422)


def test_other_sites_cannot_write(client: TestClient) -> None:
    first = hits(client)[0]["image_id"]
    headers = {"origin": "http://evil.example"}
    assert problem(client.put(f"{API}/labels", json={"image_ids": [first], "emotion": "sad"}, headers=headers), 403)
    assert labels(client) == {}


def test_hidden_images_leave_the_lists(client: TestClient) -> None:
    before = hits(client)
    first = before[0]["image_id"]
    changed = answer(client.put(f"{API}/hidden", json={"image_ids": [first]}), schemas.Changed)
    assert changed["changed"] == 1
    assert len(hits(client)) == len(before) - 1
    assert len(hits(client, hidden=True)) == len(before)
    assert client.get(f"{API}/images/{first}").json()["hidden"] is True
    client.put(f"{API}/hidden", json={"image_ids": [first], "hidden": False})
    assert hits(client) == before
    assert problem(client.put(f"{API}/hidden", json={"image_ids": [UNKNOWN]}), 404)


def test_names_are_carried_as_they_are(client: TestClient, pictures: Path) -> None:
    paths = {os.fsencode(hit["path"]) for hit in hits(client)}
    assert os.fsencode(pictures / "<script>alert(1)</script>&\"'.png") in paths
    assert os.fsencode(pictures) + b"/caf\xe9\n.png" in paths
    for hit in hits(client):
        response = client.get(f"{API}/images/{hit['image_id']}/original", params={"download": True})
        assert response.status_code == 200
        name = response.headers["content-disposition"].partition("filename*=UTF-8''")[2]
        assert not set(name) & set("<>\"'\n ;,")


def test_a_run_indexes_what_is_new(client: TestClient, pictures: Path) -> None:
    shutil.copyfile(sorted((EXAMPLES / "noto").glob("*.png"))[0], pictures / "new.png")
    task = answer(client.post(f"{API}/runs", json={}), schemas.Task, 202)
    done = finished(client, task)
    assert (done["state"], done["result"]["indexed"], done["result"]["unchanged"]) == ("done", 1, 6)
    assert "new.png" in os.path.basename(hits(client)[0]["path"])
    runs = answer(client.get(f"{API}/runs", params={"limit": 1}), schemas.Runs)
    assert runs["runs"][0]["counts"]["indexed"] == 1
    older = client.get(f"{API}/runs", params={"limit": 1, "cursor": runs["next"]}).json()["runs"]
    assert older[0]["id"] < runs["runs"][0]["id"]
    assert answer(client.get(f"{API}/tasks/{task['id']}"), schemas.Task) == done
    assert answer(client.get(f"{API}/tasks"), list[schemas.Task]) == [done]


def test_a_run_over_one_root_and_its_failures(client: TestClient, pictures: Path) -> None:
    for number in range(3):
        (pictures / f"broken{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    root = client.get(f"{API}/roots").json()[0]["id"]
    done = finished(client, client.post(f"{API}/runs", json={"roots": [root]}).json())
    assert done["result"]["failed"] == 3
    page = answer(client.get(f"{API}/failures", params={"limit": 2}), schemas.Failures)
    rest = answer(client.get(f"{API}/failures", params={"limit": 2, "cursor": page["next"]}), schemas.Failures)
    names = [os.path.basename(one["path"]) for one in page["failures"] + rest["failures"]]
    assert names == ["broken0.png", "broken1.png", "broken2.png"]
    assert rest["next"] is None
    assert all(one["reason"] for one in page["failures"])


def test_a_run_takes_no_paths(client: TestClient) -> None:
    for body in ({"roots": ["/etc"]}, {"paths": ["/etc"]}, {"roots": []}):
        assert problem(client.post(f"{API}/runs", json=body), 422)
    assert problem(client.post(f"{API}/runs", json={"roots": ["ab" * 16]}), 404)
    assert client.get(f"{API}/tasks").json() == []


def test_one_task_runs_at_a_time_and_can_be_stopped(client: TestClient, pictures: Path) -> None:
    for source in EXAMPLES.rglob("*.png"):
        shutil.copyfile(source, pictures / f"{source.parent.name}-{source.name}")
    task = client.post(f"{API}/runs", json={"force": True}).json()
    assert problem(client.post(f"{API}/teach", json={}), 409)
    assert client.get(f"{API}/runs").json()["task"] == task["id"]
    answer(client.post(f"{API}/tasks/{task['id']}/stop", json={}), schemas.Task)
    done = finished(client, task)
    assert done["state"] in ("interrupted", "done")  # it may have been faster
    assert problem(client.post(f"{API}/tasks/{task['id']}/stop", json={}), 400)
    assert len(hits(client)) >= 6
    assert client.get(f"{API}/runs").json()["task"] is None


def test_labels_own_emotions_and_undo_work_during_a_run(client: TestClient, home: Path) -> None:
    first = hits(client)[0]
    ids = [first["image_id"]]
    with opened(Settings(home=home)).database.lock_writer(admits_labels=True):
        assert client.get(f"{API}/runs").json()["writer"] is True
        changed = client.put(f"{API}/labels", json={"image_ids": ids, "emotion": "smug", "new": True}).json()
        assert hits(client)[0]["label"] == "smug"
        assert client.post(f"{API}/labels/undo", json={"undo": changed["undo"]}).json()["changed"] == 1
        assert "label" not in hits(client)[0]
        assert client.put(f"{API}/hidden", json={"image_ids": ids}).json()["changed"] == 1
        assert first["path"] not in [hit["path"] for hit in hits(client)]


def test_labels_wait_while_another_process_writes(client: TestClient, home: Path) -> None:
    first = hits(client)[0]["image_id"]
    with opened(Settings(home=home)).database.lock_writer():
        response = client.put(f"{API}/labels", json={"image_ids": [first], "emotion": "sad"})
        assert "cannot change while another moodex teaches" in problem(response, 409)
        assert response.headers["retry-after"]
        assert hits(client)
        assert client.get(f"{API}/runs").json()["writer"] is True
    assert client.put(f"{API}/labels", json={"image_ids": [first], "emotion": "sad"}).json()["changed"] == 1


def test_teaching_with_too_few_labels_explains_itself(client: TestClient) -> None:
    done = finished(client, answer(client.post(f"{API}/teach", json={}), schemas.Task, 202))
    assert done["state"] == "failed"
    assert "too few labels" in done["error"]


def test_teaching_and_back(client: TestClient) -> None:
    ids = [hit["image_id"] for hit in hits(client)]
    for image_id, emotion in zip(ids, ["disgust", "fear"] * 3, strict=True):
        client.put(f"{API}/labels", json={"image_ids": [image_id], "emotion": emotion})
    before = client.get(f"{API}/emotions").json()["model"]
    done = finished(client, client.post(f"{API}/teach", json={"name": "mine"}).json())
    result = done["result"]
    assert done["state"] == "done", done
    assert result["labels"] == {"disgust": 3, "fear": 3}
    assert 0 <= result["before"] <= 1
    if result["new"]:
        assert client.get(f"{API}/emotions").json()["model"] == "mine"
        undone = finished(client, answer(client.post(f"{API}/teach/undo", json={}), schemas.Task, 202))
        assert undone["result"]["model"] == before
    assert client.get(f"{API}/emotions").json()["model"] == before


def test_a_check_and_its_report(client: TestClient) -> None:
    done = finished(client, answer(client.post(f"{API}/doctor", json={}), schemas.Task, 202))
    assert done["result"]["sound"] is True
    report = answer(client.get(f"{API}/doctor"), schemas.Doctor)
    assert report["report"] == done["result"]
    assert report["checked_at"] == done["ended_at"]


def test_a_selection_as_a_zip_with_names_kept_apart(client: TestClient, pictures: Path) -> None:
    found = hits(client)
    body = {"image_ids": [hit["image_id"] for hit in found]}
    kept = answer(client.post(f"{API}/collections", json=body), schemas.Collection, 201)
    assert kept["images"] == len(found)
    response = client.get(f"{API}/collections/{kept['id']}/zip")
    assert "attachment" in response.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.testzip() is None
        assert len(set(archive.namelist())) == len(found)
        assert {"01-a.png", "01-b.png", "kawaii.png"} <= set(archive.namelist())
        assert archive.read("01-a.png") == (pictures / "a/01.png").read_bytes()
        assert sum(entry.file_size for entry in archive.infolist()) == kept["bytes"]


def test_a_selection_as_paths_and_tables(client: TestClient) -> None:
    found = hits(client)
    kept = client.post(f"{API}/collections", json={"image_ids": [hit["image_id"] for hit in found]}).json()["id"]
    paths = client.get(f"{API}/collections/{kept}/paths").content
    assert paths == b"".join(os.fsencode(hit["path"]) + b"\n" for hit in found)
    assert client.get(f"{API}/collections/{kept}/json").json() == found
    table = client.get(f"{API}/collections/{kept}/csv")
    assert table.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(table.content.decode("utf-8", "surrogateescape"), newline="")))
    assert [row["image_id"] for row in rows] == [hit["image_id"] for hit in found]


def test_a_selection_as_a_folder_of_links(client: TestClient, home: Path) -> None:
    found = hits(client)
    kept = client.post(f"{API}/collections", json={"image_ids": [hit["image_id"] for hit in found]}).json()["id"]
    made = answer(client.post(f"{API}/collections/{kept}/links", json={"name": "my set"}), schemas.Collected)
    assert (made["done"], made["present"], made["missing"]) == (len(found), 0, [])
    folder = home / "collections" / "my set"
    assert made["folder"] == str(folder)
    assert {os.readlink(path) for path in folder.iterdir()} == {hit["path"] for hit in found}
    again = client.post(f"{API}/collections/{kept}/links", json={"name": "my set"}).json()
    assert (again["done"], again["present"]) == (0, len(found))


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/etc", ".hidden", "a\\b", "a\n", "x" * 65])
def test_a_folder_of_links_is_a_plain_name(client: TestClient, home: Path, name: str) -> None:
    kept = client.post(f"{API}/collections", json={"image_ids": [hits(client)[0]["image_id"]]}).json()["id"]
    assert problem(client.post(f"{API}/collections/{kept}/links", json={"name": name}), 422)
    assert not (home / "collections").exists()


def test_a_selection_of_nothing(client: TestClient) -> None:
    assert problem(client.post(f"{API}/collections", json={"image_ids": [UNKNOWN]}), 404)


def test_a_file_that_changed_is_not_served_as_the_image(client: TestClient, pictures: Path) -> None:
    hit = next(hit for hit in hits(client) if hit["path"].endswith("other.png"))
    address = f"{API}/images/{hit['image_id']}"
    (pictures / "other.png").write_text("<script>alert(document.domain)</script>")
    assert "has changed" in problem(client.get(f"{address}/original"), 410)
    assert problem(client.get(f"{address}/thumbnail"), 410)
    kept = client.post(f"{API}/collections", json={"image_ids": [hit["image_id"]]}).json()["id"]
    with zipfile.ZipFile(io.BytesIO(client.get(f"{API}/collections/{kept}/zip").content)) as archive:
        assert archive.namelist() == []


def test_drawings_that_browsers_could_run_are_saved_and_not_shown(home: Path, tmp_path: Path) -> None:
    pytest.importorskip("resvg_py", reason="the test needs moodex[svg]")
    folder = tmp_path / "drawings"
    folder.mkdir()
    (folder / "script.svg").write_bytes(svg('<script>alert(1)</script><rect width="50" height="40" fill="#c81e5a"/>'))
    gif = io.BytesIO()
    Image.new("P", (60, 50), 3).save(gif, "GIF", comment=b"<html><script>alert(1)</script>")
    (folder / "page.gif").write_bytes(gif.getvalue())
    assert run_cli(home, "index", folder).returncode == 0
    with browsing(home) as client:
        kinds = {}
        for hit in hits(client):
            original = client.get(f"{API}/images/{hit['image_id']}/original")
            kinds[os.path.basename(hit["path"])] = original.headers["content-type"], original.headers["content-disposition"][:6]
            assert original.headers["x-content-type-options"] == "nosniff"
            assert original.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert kinds == {"script.svg": ("application/octet-stream", "attach"), "page.gif": ("image/gif", "inline")}


def test_a_file_that_waits_is_served_while_its_bytes_are_the_image(client: TestClient, home: Path, pictures: Path) -> None:
    hit = next(hit for hit in hits(client) if hit["path"].endswith("other.png"))
    address = f"{API}/images/{hit['image_id']}/original"
    with opened(Settings(home=home)).database.open() as store:
        store.requeue([file for file in store.indexed_files(0, 100) if file.path == os.fsencode(hit["path"])])
    assert client.get(address).content == (pictures / "other.png").read_bytes()
    (pictures / "other.png").write_text("<script>alert(1)</script>")
    assert problem(client.get(address), 410)


def test_a_link_in_place_of_a_file_leads_nowhere(client: TestClient, pictures: Path, tmp_path: Path) -> None:
    hit = next(hit for hit in hits(client) if hit["path"].endswith("other.png"))
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (pictures / "other.png").unlink()
    (pictures / "other.png").symlink_to(secret)
    assert problem(client.get(f"{API}/images/{hit['image_id']}/original"), 410)
    assert problem(client.get(f"{API}/images/{hit['image_id']}/thumbnail"), 410)


def test_a_missing_file_keeps_its_thumbnail_only(client: TestClient, pictures: Path) -> None:
    hit = next(hit for hit in hits(client) if hit["path"].endswith("other.png"))
    address = f"{API}/images/{hit['image_id']}"
    assert client.get(f"{address}/thumbnail").status_code == 200
    (pictures / "other.png").unlink()
    assert client.get(f"{address}/thumbnail").status_code == 200
    assert problem(client.get(f"{address}/original"), 410)
    assert client.get(address).json()["files"][0]["exists"] is False


def test_a_forgotten_image_is_not_served(client: TestClient, home: Path, pictures: Path) -> None:
    hit = next(hit for hit in hits(client) if hit["path"].endswith("other.png"))
    address = f"{API}/images/{hit['image_id']}"
    tag = client.get(f"{address}/thumbnail").headers["etag"]
    assert run_cli(home, "forget", pictures / "other.png").returncode == 0
    for headers in ({}, {"if-none-match": tag}):
        assert problem(client.get(f"{address}/thumbnail", headers=headers), 404)
        assert problem(client.get(f"{address}/original", headers=headers), 404)
    assert problem(client.get(address), 404)


def test_a_library_that_is_replaced_is_read_again(client: TestClient, home: Path, pictures: Path, tmp_path: Path) -> None:
    backup = tmp_path / "library.backup"
    assert run_cli(home, "backup", backup).returncode == 0
    assert run_cli(home, "forget", pictures / "other.png").returncode == 0
    assert len(hits(client)) == 5
    assert run_cli(home, "restore", backup, "--yes").returncode == 0
    assert len(hits(client)) == 6


def test_an_empty_library_says_what_to_do(home: Path) -> None:
    with browsing(home) as client:
        assert client.get("/").status_code == 200
        assert client.get("/healthz").status_code == 200
        assert client.get("/metrics").status_code == 200
        assert client.get(f"{API}/folders").json() == {"path": [], "folders": []}
        assert client.get(f"{API}/roots").json() == []
        assert client.get(f"{API}/status").json()["images"] == 0
        for route in ("images", "search", "emotions", "labels", "doubts", "suggestions", "failures"):
            assert "moodex index FOLDER" in problem(client.get(f"{API}/{route}"), 404), route
        assert "moodex index FOLDER" in problem(client.post(f"{API}/runs", json={}), 404)
