"""The tables, as typed models. The schema itself is made by `migrations`, step by step, never from here.

They are SQLAlchemy Core, not its object-relational mapper: nothing here needs sessions or identity maps, and importing the mapper
takes longer than a search (see docs/adr/0002-store.md).
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import JSON, Column, ColumnElement, Float, ForeignKey, Integer, LargeBinary, MetaData, String, Table

METADATA = MetaData()


class Model:
    """What all tables share: a subclass's columns, named as its attributes, make its table."""

    table: ClassVar[Table]

    def __init_subclass__(cls, name: str) -> None:
        columns = {attribute: value for attribute, value in vars(cls).items() if isinstance(value, Column)}
        for attribute, column in columns.items():
            column.name = column.key = attribute
        cls.table = Table(name, METADATA, *columns.values())


class FolderRow(Model, name="folders"):
    """A folder that holds known files. `path` is absolute, in the file system's own bytes.

    `listing` is a digest of the files that a run for this model and this detector of faces has found in it, all of them in the
    table; deleting a prediction of one of them, or marking one gone, deletes it, by a trigger.
    """

    id: ColumnElement[int] = Column(Integer, primary_key=True)
    path: ColumnElement[bytes] = Column(LargeBinary, unique=True)
    listing: ColumnElement[bytes | None] = Column(LargeBinary)
    listed_model_id: ColumnElement[int | None] = Column(ForeignKey("models.id"))
    listed_finder_id: ColumnElement[int | None] = Column(ForeignKey("finders.id"))


class ImageRow(Model, name="images"):
    """A picture, known by the BLAKE3 digest of its bytes."""

    id: ColumnElement[int] = Column(Integer, primary_key=True)
    digest: ColumnElement[bytes] = Column(LargeBinary(32), unique=True)
    width: ColumnElement[int] = Column(Integer)
    height: ColumnElement[int] = Column(Integer)
    format: ColumnElement[str] = Column(String)


class RunRow(Model, name="runs"):
    """One indexing job."""

    id: ColumnElement[int] = Column(Integer, primary_key=True)
    started_at: ColumnElement[float] = Column(Float)
    ended_at: ColumnElement[float | None] = Column(Float)
    roots: ColumnElement[list[str]] = Column(JSON)
    model_id: ColumnElement[int] = Column(ForeignKey("models.id"))
    finder_id: ColumnElement[int | None] = Column(ForeignKey("finders.id"))
    pid: ColumnElement[int] = Column(Integer)
    outcome: ColumnElement[str] = Column(String)
    counts: ColumnElement[dict[str, int]] = Column(JSON)
    reason: ColumnElement[str | None] = Column(String)


class FileRow(Model, name="files"):
    """A path and what it looked like. It is live, and found by searches, while it has a picture and is done or pending.

    `gone_at` is when a file that is gone was missed first, in seconds since the epoch.
    """

    id: ColumnElement[int] = Column(Integer, primary_key=True)
    folder_id: ColumnElement[int] = Column(ForeignKey("folders.id"))
    name: ColumnElement[bytes] = Column(LargeBinary)
    size: ColumnElement[int] = Column(Integer)
    mtime_ns: ColumnElement[int] = Column(Integer)
    state: ColumnElement[str] = Column(String)
    failure_kind: ColumnElement[str | None] = Column(String)
    failure_reason: ColumnElement[str | None] = Column(String)
    image_id: ColumnElement[int | None] = Column(ForeignKey("images.id"))
    appeared_run_id: ColumnElement[int] = Column(ForeignKey("runs.id"))
    gone_at: ColumnElement[float | None] = Column(Float)


class ModelRow(Model, name="models"):
    """A model that made predictions. `key` covers everything that decides its outputs."""

    id: ColumnElement[int] = Column(Integer, primary_key=True)
    key: ColumnElement[str] = Column(String, unique=True)
    name: ColumnElement[str] = Column(String)
    architecture: ColumnElement[str] = Column(String)
    weights_digest: ColumnElement[str] = Column(String)
    labels: ColumnElement[list[str]] = Column(JSON)
    input: ColumnElement[dict[str, Any]] = Column(JSON)
    embedding_size: ColumnElement[int] = Column(Integer)
    spaces: ColumnElement[dict[str, int]] = Column(JSON)
    backbone_digest: ColumnElement[str] = Column(String)
    precision: ColumnElement[str] = Column(String)
    embedder_id: ColumnElement[int] = Column(ForeignKey("embedders.id"))


class EmbedderRow(Model, name="embedders"):
    """What computes embeddings: a network without its last layer. Models that share one share its embeddings."""

    id: ColumnElement[int] = Column(Integer, primary_key=True)
    key: ColumnElement[str] = Column(String, unique=True)


class FaceDetectorRow(Model, name="finders"):
    """What finds faces. Where a run or a prediction names none, no faces were looked for."""

    id: ColumnElement[int] = Column(Integer, primary_key=True)
    key: ColumnElement[str] = Column(String, unique=True)


class PredictionRow(Model, name="predictions"):
    """What one model says of one region of a picture. Ids are never used again, so a greater one is newer.

    `probabilities` are little-endian float32 in the order of the model's labels. `emotion` and `score` are what searches go by: a
    person's label, at 1, else the most probable one and its probability. A picture has either region 0, the whole, without a box,
    or its faces, which count from 1, the largest first. Boxes are fractions of width and height.
    """

    id: ColumnElement[int] = Column(Integer, primary_key=True)
    image_id: ColumnElement[int] = Column(ForeignKey("images.id"))
    model_id: ColumnElement[int] = Column(ForeignKey("models.id"))
    region: ColumnElement[int] = Column(Integer)
    finder_id: ColumnElement[int | None] = Column(ForeignKey("finders.id"))
    left: ColumnElement[float | None] = Column(Float)
    top: ColumnElement[float | None] = Column(Float)
    right: ColumnElement[float | None] = Column(Float)
    bottom: ColumnElement[float | None] = Column(Float)
    emotion: ColumnElement[str] = Column(String)
    score: ColumnElement[float] = Column(Float)
    probabilities: ColumnElement[bytes] = Column(LargeBinary)


class LabelRow(Model, name="labels"):
    """What a person says a picture feels like. It goes before every prediction of it."""

    image_id: ColumnElement[int] = Column(ForeignKey("images.id"), primary_key=True)
    emotion: ColumnElement[str] = Column(String)
    said_at: ColumnElement[float] = Column(Float)


class EmbeddingRow(Model, name="embeddings"):
    """A region of a picture as a vector: little-endian float16, each space's part of length 1.

    Apart from predictions, whose pages searches read, and one for all models that share the embedder.
    """

    id: ColumnElement[int] = Column(Integer, primary_key=True)
    embedder_id: ColumnElement[int] = Column(ForeignKey("embedders.id"))
    image_id: ColumnElement[int] = Column(ForeignKey("images.id"))
    region: ColumnElement[int] = Column(Integer)
    vector: ColumnElement[bytes] = Column(LargeBinary)


class JobRow(Model, name="jobs"):
    """A job of the schedule and how it last went, as `Job` and `JobStatus` of `indexer.domain.jobs` say; paths are absolute."""

    id: ColumnElement[int] = Column(Integer, primary_key=True)
    name: ColumnElement[str] = Column(String, unique=True)
    roots: ColumnElement[list[str]] = Column(JSON)
    cron: ColumnElement[str | None] = Column(String)
    every: ColumnElement[float | None] = Column(Float)
    watch: ColumnElement[int] = Column(Integer)
    options: ColumnElement[dict[str, Any]] = Column(JSON)
    added_at: ColumnElement[float] = Column(Float)
    begun_at: ColumnElement[float | None] = Column(Float)
    ended_at: ColumnElement[float | None] = Column(Float)
    succeeded_at: ColumnElement[float | None] = Column(Float)
    retry_at: ColumnElement[float | None] = Column(Float)
    outcome: ColumnElement[str | None] = Column(String)
    reason: ColumnElement[str | None] = Column(String)
    failures: ColumnElement[int] = Column(Integer)


class GenerationRow(Model, name="generations"):
    """One transaction that wrote or removed predictions. By its token a kept vector index is known to belong to this database."""

    id: ColumnElement[int] = Column(Integer, primary_key=True)
    model_id: ColumnElement[int] = Column(ForeignKey("models.id"))
    last_prediction_id: ColumnElement[int] = Column(Integer)
    token: ColumnElement[str] = Column(String)


class PageAnchorRow(Model, name="marks"):
    """A place in the list of some emotions: the file there, with the prediction it answers by; `place` others lie before it."""

    model_id: ColumnElement[int] = Column(ForeignKey("models.id"), primary_key=True)
    emotions: ColumnElement[str] = Column(String, primary_key=True)
    place: ColumnElement[int] = Column(Integer, primary_key=True)
    score: ColumnElement[float] = Column(Float)
    prediction_id: ColumnElement[int] = Column(Integer)
    file_id: ColumnElement[int] = Column(Integer)
