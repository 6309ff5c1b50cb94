"""Export and import: exports agree with searches, other programs can read them, and their labels can be imported again."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexer.domain.errors import NotIndexed, UnknownEmotion, UsageError
from indexer.domain.export import ExportReport, ExportRequest
from indexer.exporters.text import COLUMNS, writer_for
from indexer.labels import service as labels_service
from indexer.labels.assign import parse_assignments
from indexer.mapping.make import make_map
from indexer.system.text import escape_spreadsheet_formula
from indexer.transfer import export as transfer_export
from tests.support import damage
from tests.support.builders import write_images
from tests.support.damage import sql
from tests.support.library import Library
from tests.support.memory_library import FirstTwoNumbers
from tests.support.quiet import Remembered
from tests.support.tagged import add_tags


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return damage.build(tmp_path_factory.mktemp("intact"))


@pytest.fixture
def library(intact: Library, tmp_path: Path) -> Library:
    return damage.copy(intact, tmp_path)


def export(
    library: Library, target: Path, *emotions: str, under: Path | None = None, force: bool = False, embeddings: bool = False
) -> ExportReport:
    request = ExportRequest(target, force, emotions, () if under is None else (os.fsencode(under),))
    return transfer_export.export(library.opened, request, writer_for(target, embeddings), Remembered())


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def labels(library: Library) -> dict[str, str]:
    return {image.image_id: image.emotion for image in labels_service.list_labels(library.opened)}


def test_csv_export_agrees_with_searches(library: Library, tmp_path: Path) -> None:
    done = export(library, tmp_path / "all.csv")
    rows = read(tmp_path / "all.csv")
    assert done.rows == len(rows) == 42  # forty files, one of them with three faces
    assert list(rows[0])[:11] == [*COLUMNS, "p_happy"]
    by_path = {(row["path"], row["left"]): row for row in rows}
    for hit in library.everything():
        row = by_path[(os.fsdecode(hit.path), str(hit.box[0]) if hit.box else "")]
        assert row["digest"] == hit.image_id and row["emotion"] == hit.emotion and row["label"] == (hit.label or "")
        assert float(row["score"]) == pytest.approx(hit.score, abs=1e-5)
        for emotion, probability in hit.emotions.items():
            assert float(row[f"p_{emotion}"]) == pytest.approx(probability, abs=1e-5)
    faces = [row for row in rows if row["region"] != "0"]
    assert [row["region"] for row in faces] == ["1", "2", "3"] and {row["label"] for row in faces} == {"sad"}


def test_exports_can_be_filtered(library: Library, tmp_path: Path) -> None:
    assert {row["path"] for row in _filtered_rows(library, tmp_path, under=library.folder / "b")} == {
        str(library.folder / "b" / name) for name in ("100.png", "101.png", "faces.png", "same_bytes.png")
    }
    assert {row["emotion"] for row in _filtered_rows(library, tmp_path, "joy", "sad")} <= {"happy", "pleased", "sad", "crying"}
    assert len(_filtered_rows(library, tmp_path, under=library.folder / "a/003.png")) == 1
    with pytest.raises(UnknownEmotion):
        export(library, tmp_path / "x.csv", "hapy")
    assert not (tmp_path / "x.csv").exists()


def _filtered_rows(library: Library, folder: Path, *emotions: str, under: Path | None = None) -> list[dict[str, str]]:
    export(library, folder / "filtered.csv", *emotions, under=under, force=True)
    return read(folder / "filtered.csv")


def test_json_lines_agree_with_csv(library: Library, tmp_path: Path) -> None:
    export(library, tmp_path / "all.jsonl", embeddings=True)
    rows = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    export(library, tmp_path / "all.csv", embeddings=True)
    for row, other in zip(rows, read(tmp_path / "all.csv"), strict=True):
        assert row["path"] == other["path"] and str(row["score"]) == other["score"]
        assert row["embedding"] == json.loads(other["embedding"])
        assert math.hypot(*row["embedding"]) == pytest.approx(1, abs=0.01)


def test_pyarrow_reads_the_parquet_export(library: Library, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    library.index()
    not_utf8 = library.folder / os.fsdecode(b"b/\xff.png")
    shutil.copyfile(library.folder / "a/001.png", not_utf8)
    library.index()
    unanalyzed = os.fsencode(library.folder / "a/010.png")
    labels_service.label(library.opened, parse_assignments([unanalyzed], "happy", False), False)
    sql(
        library,
        "DELETE FROM predictions WHERE image_id = (SELECT image_id FROM files WHERE name = CAST('010.png' AS BLOB))",
    )
    try:
        export(library, tmp_path / "all.parquet")
        export(library, tmp_path / "all.csv", embeddings=True)
    finally:
        not_utf8.unlink()
    table = parquet.read_table(tmp_path / "all.parquet")
    with (tmp_path / "all.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = list(csv.DictReader(file))
    assert table.num_rows == len(rows) == 43
    assert str(table.schema.field("embedding").type) == "fixed_size_list<element: float>[64]"
    assert json.loads(table.schema.metadata[b"moodex"])["model"] == "fake"
    for entry, row in zip(table.to_pylist(), rows, strict=True):
        assert entry["digest"] == row["digest"] and (entry["label"] or "") == row["label"]
        assert os.fsencode(row["path"]).decode("utf-8", "backslashreplace") == entry["path"]
        assert str(entry["left"] if entry["left"] is not None else "") == row["left"]
        if row["p_happy"]:
            assert entry["p_happy"] == pytest.approx(float(row["p_happy"]), abs=1e-5)
            assert entry["embedding"] == pytest.approx(json.loads(row["embedding"]), abs=1e-3)
        else:
            assert entry["p_happy"] is None and math.isnan(entry["embedding"][0]) and entry["label"] == "happy"
    assert sum(row["p_happy"] == "" for row in rows) == 1


def test_the_parquet_export_has_places_of_the_map_and_a_description_for_datasets(library: Library, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    export(library, tmp_path / "before.parquet")
    assert parquet.read_table(tmp_path / "before.parquet")["x"].null_count == 42
    opened = replace(library.opened, projector=FirstTwoNumbers)
    make_map(opened, Remembered())
    export(library, tmp_path / "all.parquet")
    table = parquet.read_table(tmp_path / "all.parquet")
    places = [table["x"].to_numpy(), table["y"].to_numpy()]
    assert all(0 < shares.min() < shares.max() < 1 for shares in places)
    vectors = np.array(table["embedding"].to_pylist())[:, :2]
    for shares, numbers in zip(places, vectors.T, strict=True):
        assert np.corrcoef(shares, numbers)[0, 1] == pytest.approx(1, abs=1e-4)
    assert [image["path"] for image in table["image"].to_pylist()] == table["path"].to_pylist()
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == table.column_names
    assert (features["image"], features["region"]) == ({"_type": "Image"}, {"_type": "Value", "dtype": "int32"})
    assert features["embedding"] == {"_type": "Sequence", "feature": {"_type": "Value", "dtype": "float32"}, "length": 64}


def test_datasets_reads_the_parquet_export(library: Library, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    export(library, tmp_path / "all.parquet")
    rows = datasets.load_dataset("parquet", data_files=str(tmp_path / "all.parquet"), cache_dir=str(tmp_path / "cache"))["train"]
    assert len(rows) == 42
    first = next(row for row in rows if row["path"].endswith("001.png"))
    with Image.open(first["path"]) as expected:
        assert first["image"].tobytes() == expected.tobytes()


def test_a_coco_export_has_every_image_once_with_its_faces_in_boxes(library: Library, tmp_path: Path) -> None:
    report = export(library, tmp_path / "all.json")
    exported = json.loads((tmp_path / "all.json").read_bytes())
    export(library, tmp_path / "all.csv")
    rows = read(tmp_path / "all.csv")
    images = {image["id"]: image for image in exported["images"]}
    names = {category["id"]: category["name"] for category in exported["categories"]}
    assert report.rows == len(exported["annotations"]) == len(rows) == 42
    assert len({image["file_name"] for image in images.values()}) == len(images) == 40
    for annotation, row in zip(exported["annotations"], rows, strict=True):
        image = images[annotation["image_id"]]
        assert (image["file_name"], names[annotation["category_id"]]) == (row["path"], row["emotion"])
        with Image.open(row["path"]) as opened:
            assert (image["width"], image["height"]) == opened.size
        left, top, width, height = annotation["bbox"]
        edges = [left, top, left + width, top + height] if row["left"] else [0, 0, image["width"], image["height"]]
        assert [left, top, left + width, top + height] == edges
        assert not row["left"] or edges == [int(row[edge]) for edge in ("left", "top", "right", "bottom")]
    assert not list(tmp_path.glob("*.work"))


def test_pandas_reads_the_parquet_export(library: Library, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    pandas = pytest.importorskip("pandas")
    export(library, tmp_path / "all.parquet")
    frame = pandas.read_parquet(tmp_path / "all.parquet")
    assert len(frame) == 42 and frame["embedding"].map(len).eq(64).all()


def test_labels_survive_when_a_library_moves(library: Library, tmp_path: Path) -> None:
    export(library, tmp_path / "all.csv")
    before = labels(library)
    moved = Library(tmp_path / "elsewhere", tmp_path / "other")
    shutil.copytree(library.folder, moved.folder)
    (moved.folder / "a/003.png").rename(moved.folder / "a/renamed.png")
    moved.index()
    assert labels(moved) == {}
    with damage.program(moved) as run:
        done = run("import", tmp_path / "all.csv", "--json")
        assert (done.code, json.loads(done.out)) == (0, {"changed": 3, "unchanged": 0})
        assert labels(moved) == before
        assert json.loads(run("label", tmp_path / "all.csv", "--json").out) == {"changed": 0, "unchanged": 3}
        (moved.folder / "a/renamed.png").unlink()
        assert run("import", tmp_path / "all.parquet").code == 2


def test_images_that_are_not_indexed_can_be_skipped(library: Library, tmp_path: Path) -> None:
    export(library, tmp_path / "all.csv")
    other = Library(tmp_path / "few", tmp_path / "other")
    write_images(other.folder / "a", 4)
    other.index()
    assignments = parse_assignments([os.fsencode(tmp_path / "all.csv")], None, False)
    with pytest.raises(NotIndexed):
        labels_service.label(other.opened, assignments, False)
    assert labels(other) == {}
    done = labels_service.label(other.opened, assignments, False, skip_unknown=True)
    assert (done.changed, done.skipped) == (1, 4)  # one image of three faces, with a row each


@pytest.mark.parametrize("emotion", ["=cmd|' /c calc'!a0", "+smug", "-meh", "@home"])
def test_no_cell_is_a_formula_and_labels_round_trip(library: Library, tmp_path: Path, emotion: str) -> None:
    image = os.fsencode(library.folder / "a/007.png")
    labels_service.label(library.opened, parse_assignments([image], emotion, False), True)
    before = labels(library)
    assert emotion in before.values()
    export(library, tmp_path / "all.csv")
    cells = [cell for row in read(tmp_path / "all.csv") for cell in row.values()]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    with damage.program(library) as run:
        assert not run("search", "--min-score", "0.01", "-f", "csv", "-k", "100").out.count(f",{emotion},")
        (tmp_path / "listed.csv").write_text(run("label", "--list").out)
        assert f",{escape_spreadsheet_formula(emotion)}," in (tmp_path / "listed.csv").read_text()
        for table in ("all.csv", "listed.csv"):
            assert run("label", library.folder, "--remove").code == 0
            assert labels(library) == {}
            assert run("import", tmp_path / table, "--new").code == 0
            assert labels(library) == before


def test_invalid_tables_are_refused_with_a_reason(library: Library, tmp_path: Path) -> None:
    for text, sentence in (
        ("label\nsad\n", "lacks the column path"),
        ("path\na.png\n", "lacks the column label"),
        ("digest,label\nabc,sad\n", "names no image in row 2"),
        (f"digest,label\n{'00' * 32},sad\n", "000000000000 is not indexed"),
        ("path,label\nnone.png,sad\n", "No indexed image is at"),
        ("path,label\n,sad\n", "names no image in row 2"),
    ):
        (tmp_path / "table.csv").write_text(text)
        with damage.program(library) as run:
            done = run("import", tmp_path / "table.csv")
            assert done.code == 2 and sentence in done.error and done.error.count("\n") == 1, done
    with pytest.raises(UsageError, match=r"\.parquet, \.csv, \.jsonl or \.json"):
        export(library, tmp_path / "all.xlsx")
    (tmp_path / "existing.csv").write_text("mine")
    with pytest.raises(UsageError, match="--force"):
        export(library, tmp_path / "existing.csv")
    assert (tmp_path / "existing.csv").read_text() == "mine"


def test_rows_without_a_label_count_only_for_removal(library: Library, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(f"path,label\n{library.folder / 'a/003.png'},\n{library.folder / 'a/008.png'},happy\n")
    table = [os.fsencode(tmp_path / "table.csv")]
    assert [assignment.emotion for assignment in parse_assignments(table, None, False)] == ["happy"]
    assert [assignment.emotion for assignment in parse_assignments(table, None, True)] == [None, None]


def test_exports_have_the_tags_of_a_tagger(library: Library, tmp_path: Path) -> None:
    export(library, tmp_path / "before.csv")
    assert "tags" not in read(tmp_path / "before.csv")[0]
    add_tags(library.settings.database)
    tagged = {hit.path for hit in library.search(tags=("1girl",))}
    export(library, tmp_path / "all.csv")
    rows = read(tmp_path / "all.csv")
    assert {os.fsencode(row["path"]) for row in rows if row["tags"]} == tagged
    assert {row["tags"] for row in rows} == {"1girl comic", "1girl", ""}
    export(library, tmp_path / "all.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert [" ".join(line["tags"]) for line in lines] == [row["tags"] for row in rows]
    assert {"1girl": 0.9, "comic": 0.5} in [line["tags"] for line in lines]
    export(library, tmp_path / "all.json")
    images = json.loads((tmp_path / "all.json").read_text())["images"]
    assert {os.fsencode(image["file_name"]) for image in images if image["tags"]} == tagged
    parquet = pytest.importorskip("pyarrow.parquet")
    export(library, tmp_path / "all.parquet")
    table = parquet.read_table(tmp_path / "all.parquet")
    assert [" ".join(tags) for tags in table["tags"].to_pylist()] == [row["tags"] for row in rows]
    assert [len(tags) for tags in table["tags"].to_pylist()] == [len(scores) for scores in table["tag_probabilities"].to_pylist()]
