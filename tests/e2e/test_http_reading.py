"""The routes of the HTTP API that read, over the example images, with the answers of the command line."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PillowImage
from starlette.testclient import TestClient

from tests.e2e.conftest import EXAMPLES, Run
from tests.support.tagged import add_tags
from tests.support.web import API, answer, browsing, problem
from web import schemas
from web.assets import Assets
from web.problems import ProblemError

UNKNOWN = "ab" * 32


@pytest.fixture(scope="module")
def home_to_read(examples_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(examples_home, tmp_path_factory.mktemp("web") / "home"))


@pytest.fixture(scope="module")
def client(home_to_read: Path) -> Iterator[TestClient]:
    with browsing(home_to_read) as opened:
        yield opened


def everything(client: TestClient, route: str, **words: Any) -> list[dict[str, Any]]:
    """Follow the cursors of a list to its end."""
    hits: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = client.get(f"{API}/{route}", params=words | cursor).json()
        hits += page["hits"]
        if page["next"] is None:
            return hits
        cursor = {"cursor": page["next"]}


def first_id(client: TestClient) -> str:
    return str(client.get(f"{API}/images", params={"limit": 1}).json()["hits"][0]["image_id"])


def a_picture(name: str = "lorelei/lorelei-01.png", **changes: Any) -> bytes:
    """Return a picture that is not indexed: an example of another size."""
    with PillowImage.open(EXAMPLES / name) as opened:
        changed = opened.convert("RGB").resize(changes.get("size", (300, 300)))
    encoded = BytesIO()
    changed.save(encoded, changes.get("format", "JPEG"))
    return encoded.getvalue()


def test_the_grid_shows_every_image_once_newest_first(client: TestClient, examples_moodex: Run) -> None:
    page = answer(client.get(f"{API}/images", params={"limit": 7}), schemas.CountedPage)
    assert (len(page["hits"]), page["total"], page["exact"]) == (7, 66, True)
    assert client.get(f"{API}/images", params={"limit": 7, "cursor": page["next"]}).json()["total"] is None
    paths = [hit["path"] for hit in everything(client, "images", limit=7)]
    printed = json.loads(examples_moodex("search", "--under", EXAMPLES, "-k", "1000", "--json").stdout)["hits"]
    assert sorted(paths) == sorted(hit["path"] for hit in printed)
    assert paths == [hit["path"] for hit in everything(client, "images", limit=200)]


def test_the_grid_takes_filters(client: TestClient) -> None:
    sad = everything(client, "images", emotion="sadness", limit=3)
    assert {hit["image_id"] for hit in sad} == {hit["image_id"] for hit in everything(client, "search", emotion="sad", limit=4)}
    assert all(hit["emotion"] in ("sad", "crying") for hit in sad)
    exact = everything(client, "images", emotion="sad", exact=True)
    assert {hit["emotion"] for hit in exact} == {"sad"}
    confident = everything(client, "images", emotion="happy", min_score=0.5)
    assert confident
    assert all(hit["score"] >= 0.5 for hit in confident)
    assert not everything(client, "images", **{"emotion": "happy", "not": "happy"})


@pytest.mark.parametrize("words", [{"emotion": "happy"}, {"emotion": ["sad", "angry"]}, {"not": "happy"}, {"min_score": 0.4}, {}])
def test_a_search_equals_that_of_the_command_line(client: TestClient, examples_moodex: Run, words: dict[str, Any]) -> None:
    flags: list[Any] = []
    for name, value in words.items():
        for one in value if isinstance(value, list) else [value]:
            flags += [f"--{name.replace('_', '-')}", str(one)]
    printed = json.loads(examples_moodex("search", *(flags or ["--under", "/"]), "-k", "1000", "--json").stdout)
    found = answer(client.get(f"{API}/search", params={**words, "limit": 200}), schemas.SearchAnswer)
    assert found["hits"] == printed["hits"]
    assert (found["total"], found["exact"], found["next"]) == (printed["total"], True, None)
    assert everything(client, "search", limit=3, **words) == printed["hits"]


def test_more_like_this(client: TestClient, examples_moodex: Run) -> None:
    image_id = first_id(client)
    printed = json.loads(examples_moodex("search", "--like", image_id, "-e", "sad", "-k", "6", "--json").stdout)
    found = answer(client.get(f"{API}/search", params={"like": image_id, "emotion": "sad", "limit": 6}), schemas.SearchAnswer)
    assert found["hits"] == printed["hits"]
    assert found["total"] == printed["total"]
    paged = everything(client, "search", like=image_id, limit=4)
    assert paged[0]["image_id"] == image_id
    assert len({hit["path"] for hit in paged}) == len(paged) == 66
    similarities = [hit["similarity"] for hit in paged]
    assert similarities == sorted(similarities, reverse=True)


def test_a_page_may_begin_at_any_place_and_its_cursor_goes_on_there(client: TestClient) -> None:
    like = first_id(client)
    for route, words in (
        ("images", {}),
        ("images", {"not": "sad"}),
        ("search", {"emotion": "happy"}),
        ("search", {"like": like}),
    ):
        whole = everything(client, route, **words)
        for at in (1, 7, len(whole) - 1, len(whole), 1000):
            page = client.get(f"{API}/{route}", params={**words, "at": at, "limit": 3}).json()
            assert page["hits"] == whole[at : at + 3]
            assert page["total"] is None
            if page["next"] is not None:
                following = client.get(f"{API}/{route}", params={**words, "cursor": page["next"], "limit": 3}).json()
                assert following["hits"] == whole[at + 3 : at + 6]
        cursor = client.get(f"{API}/{route}", params={**words, "limit": 3}).json()["next"]
        assert "either cursor or at" in problem(client.get(f"{API}/{route}", params={**words, "at": 1, "cursor": cursor}), 422)


def test_near_duplicates_once(client: TestClient) -> None:
    found = answer(client.get(f"{API}/search", params={"emotion": "happy", "dedupe": True}), schemas.SearchAnswer)
    assert found["total"] is None
    assert found["hits"]


def test_a_folder_and_its_images(client: TestClient) -> None:
    roots = answer(client.get(f"{API}/folders"), schemas.Folders)
    assert [root["path"] for root in roots["folders"]] == [str(EXAMPLES)]
    root = roots["folders"][0]
    inside = answer(client.get(f"{API}/folders", params={"parent": root["id"]}), schemas.Folders)
    assert inside["path"] == [root]
    assert root["folders"] == len(inside["folders"])
    assert root["images"] == sum(folder["images"] for folder in inside["folders"])
    for folder in inside["folders"]:
        hits = everything(client, "images", under=folder["id"])
        assert len(hits) == folder["images"]
        assert all(os.path.dirname(hit["path"]) == folder["path"] for hit in hits)


def test_counts_are_those_of_searches(client: TestClient) -> None:
    folder = client.get(f"{API}/folders", params={"parent": client.get(f"{API}/folders").json()["folders"][0]["id"]}).json()[
        "folders"
    ][0]
    for words in ({}, {"under": folder["id"]}, {"not": "sad"}, {"min_score": 0.5}, {"exact": True}):
        counted = answer(client.get(f"{API}/emotions", params={**words, "emotion": "angry"}), schemas.Emotions)
        for one in counted["emotions"]:
            total = client.get(f"{API}/search", params={**words, "emotion": one["emotion"]}).json()["total"]
            excluded = "not" in words and words["not"] in (one["emotion"], one["parent"])
            assert one["count"] == (0 if excluded else total), (words, one)
            assert one["exact"]


def test_an_image_with_its_faces(client: TestClient, examples_moodex: Run) -> None:
    image_id = first_id(client)
    shown = answer(client.get(f"{API}/images/{image_id}"), schemas.Image)
    printed = json.loads(examples_moodex("show", image_id, "--json").stdout)
    assert {name: shown[name] for name in printed if name != "faces"} == {n: v for n, v in printed.items() if n != "faces"}
    assert shown["faces"][0] == {name: value for name, value in printed.items() if name != "faces"}
    assert shown["files"] == [{"path": shown["path"], "exists": True}]
    assert shown["hidden"] is False


@pytest.mark.parametrize("side", [128, 256, 512])
def test_thumbnails(client: TestClient, side: int) -> None:
    hit = client.get(f"{API}/images", params={"limit": 1}).json()["hits"][0]
    address = f"{API}/images/{hit['image_id']}/thumbnail"
    response = client.get(address, params={"side": side})
    assert response.headers["content-type"] == "image/webp"
    assert "immutable" in response.headers["cache-control"]
    with PillowImage.open(BytesIO(response.content)) as thumbnail:
        assert max(thumbnail.size) == min(side, max(hit["size"]))
        assert thumbnail.width / thumbnail.height == pytest.approx(hit["size"][0] / hit["size"][1], rel=0.02)
    again = client.get(address, params={"side": side}, headers={"if-none-match": response.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""


def test_thumbnails_keep_the_shape_of_the_image(client: TestClient) -> None:
    sent = client.post(f"{API}/queries", files={"image": a_picture(size=(400, 100))}).json()
    response = client.get(f"{API}/queries/{sent['query']}/thumbnail")
    with PillowImage.open(BytesIO(response.content)) as thumbnail:
        assert thumbnail.size == (256, 64)


def test_originals_are_the_files(client: TestClient) -> None:
    hit = client.get(f"{API}/images", params={"limit": 1}).json()["hits"][0]
    response = client.get(f"{API}/images/{hit['image_id']}/original")
    assert response.content == Path(hit["path"]).read_bytes()
    assert response.headers["content-type"] == "image/png"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in response.headers["content-security-policy"]
    assert response.headers["content-disposition"].startswith("inline")
    saved = client.get(f"{API}/images/{hit['image_id']}/original", params={"download": True})
    assert saved.headers["content-disposition"] == f"attachment; filename*=UTF-8''{os.path.basename(hit['path'])}"
    again = client.get(f"{API}/images/{hit['image_id']}/original", headers={"if-none-match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_picture_that_is_sent_along(client: TestClient) -> None:
    found = answer(client.post(f"{API}/search", params={"limit": 5}, files={"image": a_picture()}), schemas.SearchAnswer)
    assert found["hits"][0]["path"].endswith("lorelei-01.png")
    assert found["total"] == 66
    further = client.get(f"{API}/search", params={"query": found["query"], "limit": 5, "cursor": found["next"]}).json()
    assert not {hit["path"] for hit in further["hits"]} & {hit["path"] for hit in found["hits"]}
    sad = everything(client, "search", query=found["query"], emotion="sad")
    assert sad
    assert all(hit["emotion"] in ("sad", "crying") for hit in sad)
    assert all(hit["similarity"] is not None for hit in sad)


def test_what_the_model_sees_in_a_picture(client: TestClient, examples_moodex: Run, tmp_path: Path) -> None:
    path = tmp_path / "new.jpg"
    path.write_bytes(a_picture())
    printed = json.loads(examples_moodex("show", path, "--json").stdout)
    sent = answer(client.post(f"{API}/queries", files={"image": path.read_bytes()}), schemas.QueryImage)
    assert sent["indexed"] is False
    assert {**sent["faces"][0], "path": printed["path"]} == printed
    assert answer(client.get(f"{API}/queries/{sent['query']}"), schemas.QueryImage) == sent


def test_a_picture_that_is_indexed_is_not_analyzed(client: TestClient) -> None:
    hit = client.get(f"{API}/images", params={"limit": 1}).json()["hits"][0]
    sent = client.post(f"{API}/queries", files={"image": Path(hit["path"]).read_bytes()}).json()
    assert sent["indexed"] is True
    assert sent["query"] == hit["image_id"]
    assert sent["faces"][0]["path"] == hit["path"]


def test_lists_of_the_library(client: TestClient) -> None:
    models = answer(client.get(f"{API}/models"), list[schemas.Model])
    assert [model["name"] for model in models if model["default"]] == [client.get(f"{API}/emotions").json()["model"]]
    assert answer(client.get(f"{API}/status"), schemas.Status)["images"] == 66
    assert answer(client.get(f"{API}/jobs"), list[schemas.Job]) == []
    roots = answer(client.get(f"{API}/roots"), list[schemas.Root])
    assert [(root["path"], root["files"]) for root in roots] == [(str(EXAMPLES), 66)]
    runs = answer(client.get(f"{API}/runs"), schemas.Runs)
    assert [run["outcome"] for run in runs["runs"]] == ["done"]
    assert (runs["writer"], runs["task"], runs["next"]) == (False, None, None)
    assert answer(client.get(f"{API}/failures"), schemas.Failures) == {"failures": [], "next": None}
    assert answer(client.get(f"{API}/labels"), schemas.Labels) == {"labels": [], "next": None, "total": 0}
    assert answer(client.get(f"{API}/doubts"), list[schemas.Doubt]) == []
    assert len(answer(client.get(f"{API}/suggestions", params={"count": 3}), list[schemas.Suggestion])) == 3
    assert answer(client.get(f"{API}/doctor"), schemas.Doctor) == {"checked_at": None, "report": None}
    assert answer(client.get(f"{API}/tasks"), list[schemas.Task]) == []


def test_signs_of_life(client: TestClient) -> None:
    assert answer(client.get("/healthz"), schemas.Health)["status"] == "ok"
    metrics = client.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert "moodex_images_indexed_total 66" in metrics.text
    assert "moodex_up" not in metrics.text  # the server knows nothing of a scheduler
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "<script>" not in page.text


def test_the_description_names_every_route(client: TestClient) -> None:
    description = client.get(f"{API}/openapi.json").json()
    assert f"{API}/search" in description["paths"]
    assert f"{API}/tasks/{{task_id}}/events" in description["paths"]
    assert "/" not in description["paths"]
    for route in description["paths"].values():
        for operation in route.values():
            assert "application/problem+json" in operation["responses"]["default"]["content"]
    assert client.get("/docs").status_code == 404
    assert client.get("/redoc").status_code == 404


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("images?limit=0", 422),
        ("images?limit=201", 422),
        ("images?min_score=1.5", 422),
        ("images?min_score=nan", 422),
        ("images?cursor=x", 400),
        ("images?unknown=1", 422),
        ("images?emotion=blue", 400),
        ("images?under=" + "ab" * 16, 404),
        ("images?under=/etc", 422),
        ("images?model=nothing", 404),
        ("images?model=/etc/passwd", 404),
        ("search?like=/etc/passwd", 422),
        ("search?like=" + UNKNOWN, 404),
        ("search?query=" + UNKNOWN, 404),
        (f"search?query={UNKNOWN}&like={UNKNOWN}", 400),
        ("search?dedupe=true&cursor=x", 400),
        ("images/" + UNKNOWN, 404),
        ("images/..%2f..%2fetc%2fpasswd", 404),
        ("images/abcd", 422),
        (f"images/{UNKNOWN}/thumbnail", 404),
        (f"images/{UNKNOWN}/original", 404),
        (f"images/{UNKNOWN}/explanation", 404),
        ("folders?parent=" + "ab" * 16, 404),
        (f"queries/{UNKNOWN}", 404),
        ("tasks/0", 404),
        ("tasks/0/events", 404),
        ("collections/0/zip", 404),
        ("nothing", 404),
        ("labels/undo", 405),
    ],
)
def test_requests_that_cannot_be_answered(client: TestClient, address: str, status: int) -> None:
    assert problem(client.get(f"{API}/{address}"), status)


def test_a_wrong_method_names_the_right_ones(client: TestClient) -> None:
    response = client.delete(f"{API}/images")
    assert problem(response, 405)
    assert response.headers["allow"] == "GET"


def test_an_unknown_emotion_names_a_near_one(client: TestClient) -> None:
    assert "Did you mean 'happy'" in problem(client.get(f"{API}/search", params={"emotion": "hapy"}), 400)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 422),
        (b"no image", 422),
        (b"<html><script>alert(1)</script></html>", 422),
        (b"\x89PNG\r\n\x1a\n" + b"\x00" * 100, 422),
    ],
)
def test_files_that_are_no_images(client: TestClient, data: bytes, status: int) -> None:
    assert problem(client.post(f"{API}/queries", files={"image": data}), status)


def test_a_picture_beyond_the_limit_of_pixels(client: TestClient) -> None:
    encoded = BytesIO()
    PillowImage.new("1", (40_000, 20_000)).save(encoded, "PNG")
    assert "limit" in problem(client.post(f"{API}/queries", files={"image": encoded.getvalue()}), 422)


def test_a_picture_is_decoded_in_another_process(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("the server itself opened an image that somebody sent")

    picture = a_picture("kawaii/kawaii-02.png")
    monkeypatch.setattr(PillowImage, "open", fail)
    monkeypatch.setattr("indexer.imaging.decode.decode", fail)
    assert client.post(f"{API}/queries", files={"image": picture}).status_code == 200


def test_more_analyses_than_allowed_wait(client: TestClient) -> None:
    analyses = client.app.state.serving.analyses  # type: ignore[attr-defined]
    picture = a_picture("lorelei/lorelei-04.png")
    with ExitStack() as others:
        for _ in range(100):
            try:
                others.enter_context(analyses.one())
            except ProblemError:
                break
        refused = client.post(f"{API}/queries", files={"image": picture})
        assert "as many images as it can" in problem(refused, 429)
        assert int(refused.headers["retry-after"]) > 0
    assert client.post(f"{API}/queries", files={"image": picture}).status_code == 200


def test_a_body_beyond_the_limit_of_bytes(client: TestClient) -> None:
    assert problem(client.post(f"{API}/queries", files={"image": b"\xff" * (33 << 20)}), 413)
    assert problem(client.put(f"{API}/labels", content=b" " * (2 << 20), headers={"content-type": "application/json"}), 413)


def test_several_pictures_at_once_are_refused(client: TestClient) -> None:
    files = [("image", ("a.jpg", a_picture())), ("image", ("b.jpg", a_picture()))]
    response = client.post(f"{API}/search", files=files)
    assert response.status_code in (400, 422)


def test_paths_below_static_stay_inside(client: TestClient) -> None:
    for path in ("../app.py", "..%2fapp.py", "%2e%2e/app.py", "../../app.py", "/etc/passwd"):
        assert client.get(f"{Assets().base}/{path}").status_code == 404, path


def test_images_are_found_by_tag_and_show_their_tags(client: TestClient, examples_home: Path, home: Path) -> None:
    assert not answer(client.get(f"{API}/emotions"), schemas.Emotions)["has_tags"]
    shutil.copytree(examples_home, home)
    add_tags(home / "moodex.sqlite")
    with browsing(home) as tagged:
        found = answer(tagged.get(f"{API}/search", params={"tag": "1Girl", "not_tag": "comic"}), schemas.SearchAnswer)
        assert found["total"] == len(found["hits"]) == 3
        assert found["hits"][0]["tags"] == {"1girl": 0.9}
        newest = answer(tagged.get(f"{API}/images", params={"tag": "comic"}), schemas.CountedPage)
        assert [hit["tags"] for hit in newest["hits"]] == [{"1girl": 0.9, "comic": 0.5}] * 2
        image = answer(tagged.get(f"{API}/images/{newest['hits'][0]['image_id']}"), schemas.Image)
        assert image["tags"] == {"1girl": 0.9, "comic": 0.5}
        counts = answer(tagged.get(f"{API}/emotions", params={"tag": "1girl"}), schemas.Emotions)
        assert sum(one["count"] for one in counts["emotions"] if one["parent"] is None) == 5
        assert counts["has_tags"]
        problem(tagged.get(f"{API}/search", params={"tag": "nonsense"}), 400)
        problem(tagged.get(f"{API}/search", params={"similar_by": "/etc/passwd.safetensors"}), 404)


def test_another_model_may_decide_which_images_are_alike(client: TestClient) -> None:
    like = first_id(client)
    by_default = client.get(f"{API}/search", params={"like": like}).json()
    model = client.get(f"{API}/emotions").json()["model"]
    same = client.get(f"{API}/search", params={"like": like, "similar_by": model})
    assert answer(same, schemas.SearchAnswer) == by_default
