"""The routes of the map, over the example images, with the map that the command line made."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.e2e.conftest import run_process
from tests.support.web import API, answer, browsing, finished, problem
from web import schemas

pytest.importorskip("openTSNE", reason="needs the extra map")

FACES = 66


@pytest.fixture(scope="module")
def client(examples_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of a library with a map. Tests change nothing there."""
    home = Path(shutil.copytree(examples_home, tmp_path_factory.mktemp("map") / "home"))
    done = run_process(home, "map", "--json")
    assert done.returncode == 0, done.stderr.decode()
    assert (json.loads(done.stdout)["points"], json.loads(done.stdout)["fitted"]) == (FACES, FACES)
    with browsing(home) as opened:
        yield opened


def points(client: TestClient, **words: Any) -> tuple[dict[str, Any], Any, Any, Any]:
    """Return the header, x, y and codes of `GET /map/points`, read as the reference describes them."""
    response = client.get(f"{API}/map/points", params=words)
    assert response.status_code == 200, response.text
    data = response.content
    (length,) = struct.unpack_from("<I", data)
    assert length % 4 == 0
    header = json.loads(data[4 : 4 + length])
    count = header["points"]
    assert len(data) == 4 + length + 5 * count
    x, y = np.frombuffer(data, "<u2", 2 * count, 4 + length).reshape(2, count)
    return header, x, y, np.frombuffer(data, "u1", count, 4 + length + 4 * count)


def version(client: TestClient) -> str:
    return str(client.get(f"{API}/map").json()["version"])


def test_the_map_has_a_point_for_each_face_with_its_emotion(client: TestClient) -> None:
    facts = answer(client.get(f"{API}/map"), schemas.Map)
    assert (facts["points"], facts["fitted"], facts["absent"]) == (FACES, FACES, 0)
    header, x, y, codes = points(client)
    assert (header["version"], header["points"], header["absent"]) == (facts["version"], FACES, 0)
    assert len(set(zip(x.tolist(), y.tolist(), strict=True))) > FACES * 0.9
    body = {"version": facts["version"], "points": list(range(FACES))}
    images = answer(client.post(f"{API}/map/images", json=body), schemas.PointImages)["images"]
    assert [one["point"] for one in images] == body["points"]
    assert [header["emotions"][code] for code in codes] == [one["hit"]["emotion"] for one in images]
    ids = answer(client.post(f"{API}/map/ids", json=body), schemas.PointIds)["image_ids"]
    assert ids == list(dict.fromkeys(one["hit"]["image_id"] for one in images))
    assert set(ids) == {hit["image_id"] for hit in client.get(f"{API}/images", params={"limit": 200}).json()["hits"]}


def test_matches_are_what_a_search_finds(client: TestClient) -> None:
    now = version(client)
    hits = client.get(f"{API}/search", params={"emotion": "happy", "limit": 200}).json()["hits"]
    bits = client.get(f"{API}/map/matches", params={"emotion": "happy", "version": now}).content
    found = np.flatnonzero(np.unpackbits(np.frombuffer(bits, "u1"), bitorder="little"))
    images = client.post(f"{API}/map/ids", json={"version": now, "points": found.tolist()}).json()["image_ids"]
    assert set(images) == {hit["image_id"] for hit in hits}
    assert 0 < len(found) < FACES


def test_wrong_requests_are_refused_with_a_sentence(client: TestClient) -> None:
    now = version(client)
    assert "made again" in problem(client.get(f"{API}/map/matches", params={"version": "other"}), 409)
    assert "66 points" in problem(client.post(f"{API}/map/images", json={"version": now, "points": [FACES]}), 400)
    problem(client.post(f"{API}/map/images", json={"version": now, "points": [-1]}), 422)
    problem(client.post(f"{API}/map/images", json={"version": now, "points": list(range(201))}), 422)
    problem(client.get(f"{API}/map/matches"), 422)
    problem(client.get(f"{API}/map", params={"model": "unknown"}), 404)


def test_a_map_is_made_by_a_task_and_follows_labels(examples_home: Path, home: Path) -> None:
    shutil.copytree(examples_home, home)
    with browsing(home) as client:
        before = answer(client.get(f"{API}/map"), schemas.Map)
        assert (before["version"], before["points"], before["made_at"]) == (None, 0, None)
        assert "moodex map" in problem(client.get(f"{API}/map/points"), 404)
        task = answer(client.post(f"{API}/map", json={}), schemas.Task, 202)
        done = finished(client, task)
        assert (done["state"], done["result"]["points"]) == ("done", FACES), done
        header, _, _, codes = points(client)
        one = client.post(f"{API}/map/images", json={"version": header["version"], "points": [0]}).json()["images"][0]["hit"]
        label = {"image_ids": [one["image_id"]], "emotion": "smug", "new": True}
        assert client.put(f"{API}/labels", json=label).status_code == 200
        header, _, _, after = points(client)
        assert header["emotions"][after[0]] == "smug"
        hide = {"image_ids": [one["image_id"]], "hidden": True}
        assert client.put(f"{API}/hidden", json=hide).status_code == 200
        header, _, _, hidden = points(client)
        assert (hidden[0], len(hidden)) == (header["none"], len(codes))
        assert header["emotions"][points(client, hidden="true")[3][0]] == "smug"
        second = finished(client, client.post(f"{API}/map", json={}).json())
        assert second["state"] == "done"
        assert version(client) != header["version"]
