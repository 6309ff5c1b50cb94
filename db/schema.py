"""The tables, as typed models of SQLAlchemy Core, and their columns' types in each dialect.

SQLite's tables are created by `db.sqlite.migrations`, step by step; a test compares the result with these. PostgreSQL's are
created by `db.postgres.migrations`, from `db.indexes.full_metadata`. The object-relational mapper is not used: importing it takes
longer than a search (see docs/adr/0002-store.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import (
    JSON,
    REAL,
    BigInteger,
    CheckConstraint,
    Column,
    ColumnElement,
    Double,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

METADATA = MetaData()

DIGEST_START_BYTES = 16
"""No two images share the first 16 bytes of their digests by chance, so that they order images as whole digests do."""

_BIG = BigInteger().with_variant(Integer(), "sqlite")
"""Ids, nanoseconds and bytes. SQLite's INTEGER has 64 bits, and only INTEGER PRIMARY KEY is its row id."""

_REAL: TypeEngine[float] = Double().with_variant(REAL(), "sqlite")

_TEXT: TypeEngine[str] = Text().with_variant(Text(collation="C"), "postgresql")
"""Text in the order of its bytes, as SQLite has it, whatever the language of a server."""


class Model:
    """A table, built from a subclass's columns, which are named as its attributes."""

    table: ClassVar[Table]

    def __init_subclass__(cls, name: str, checks: tuple[str, ...] = (), **options: Any) -> None:
        columns = {attribute: value for attribute, value in vars(cls).items() if isinstance(value, Column)}
        for attribute, column in columns.items():
            column.name = column.key = attribute
        cls.table = Table(name, METADATA, *columns.values(), *map(CheckConstraint, checks), **options)


class FolderRow(Model, name="folders"):
    """A folder that holds known files. `path` is absolute, in the bytes of its `source`; no two sources share a path.

    `listing` is a digest of the files that a run with this model and this face detector found in it, all of them in the table. A
    trigger clears it when a prediction of one of them is deleted or one is marked gone. `listed_further` names the other models
    of that run with their face detectors, see `db.sql.run_analyzers`.
    """

    id: ColumnElement[int] = Column(_BIG, primary_key=True)
    path: ColumnElement[bytes] = Column(LargeBinary, unique=True, nullable=False)
    listing: ColumnElement[bytes | None] = Column(LargeBinary)
    listed_model_id: ColumnElement[int | None] = Column(ForeignKey("models.id"))
    listed_finder_id: ColumnElement[int | None] = Column(ForeignKey("finders.id"))
    source: ColumnElement[str] = Column(_TEXT, nullable=False, server_default=text("'file'"))
    listed_further: ColumnElement[str] = Column(_TEXT, nullable=False, server_default=text("''"))


class RootRow(Model, name="roots"):
    """A folder or file that a user indexed. `path` is absolute and real; `indexed_at` is when a run last surveyed it."""

    id: ColumnElement[int] = Column(_BIG, primary_key=True)
    path: ColumnElement[bytes] = Column(LargeBinary, unique=True, nullable=False)
    indexed_at: ColumnElement[float] = Column(_REAL, nullable=False)


class ImageRow(Model, name="images"):
    """An image, identified by the BLAKE3 digest of its bytes. `incomplete` is 1 if the end of the file is missing, else 0."""

    id: ColumnElement[int] = Column(_BIG, primary_key=True)
    digest: ColumnElement[bytes] = Column(LargeBinary, unique=True, nullable=False)
    width: ColumnElement[int] = Column(Integer, nullable=False)
    height: ColumnElement[int] = Column(Integer, nullable=False)
    format: ColumnElement[str] = Column(_TEXT, nullable=False)
    incomplete: ColumnElement[int] = Column(Integer, nullable=False, server_default=text("0"))


class RunRow(Model, name="runs"):
    """One index run. `model_id` and `finder_id` are its first model and that model's face detector."""

    id: ColumnElement[int] = Column(_BIG, primary_key=True)
    started_at: ColumnElement[float] = Column(_REAL, nullable=False)
    ended_at: ColumnElement[float | None] = Column(_REAL)
    roots: ColumnElement[list[str]] = Column(JSON, nullable=False)
    model_id: ColumnElement[int] = Column(ForeignKey("models.id"), nullable=False)
    finder_id: ColumnElement[int | None] = Column(ForeignKey("finders.id"))
    pid: ColumnElement[int] = Column(Integer, nullable=False)
    outcome: ColumnElement[str] = Column(_TEXT, nullable=False)
    counts: ColumnElement[dict[str, int]] = Column(JSON, nullable=False)
    reason: ColumnElement[str | None] = Column(_TEXT)


class RunModelRow(Model, name="run_models"):
    """A further model of a run, with its face detector, in the order of the ids."""

    id: ColumnElement[int] = Column(_BIG, primary_key=True)
    run_id: ColumnElement[int] = Column(ForeignKey("runs.id"), nullable=False)
    model_id: ColumnElement[int] = Column(ForeignKey("models.id"), nullable=False)
    finder_id: ColumnElement[int | None] = Column(ForeignKey("finders.id"))


class FileRow(
    Model,
    name="files",
    checks=(
        "state IN ('done', 'failed', 'pending', 'gone')",
        "state != 'done' OR image_id IS NOT NULL",
        "(state = 'failed') = (failure_kind IS NOT NULL)",
    ),
):
    """A path, its stamp and its state. It is live, and found by searches, while it has an image and is done or pending.

    `gone_at` is when a missing file was first missed, in seconds since the epoch. `change` is the part of the stamp that no
    program can set back; None for files of older versions.
    """

    id: ColumnElement[int] = Column(_BIG, primary_key=True)
    folder_id: ColumnElement[int] = Column(ForeignKey("folders.id"), nullable=False)
    name: ColumnElement[bytes] = Column(LargeBinary, nullable=False)
    size: ColumnElement[int] = Column(_BIG, nullable=False)
    mtime_ns: ColumnElement[int] = Column(_BIG, nullable=False)
    state: ColumnElement[str] = Column(_TEXT, nullable=False)
    failure_kind: ColumnElement[str | None] = Column(_TEXT)
    failure_reason: ColumnElement[str | None] = Column(_TEXT)
    image_id: ColumnElement[int | None] = Column(ForeignKey("images.id"))
    appeared_run_id: ColumnElement[int] = Column(ForeignKey("runs.id"), nullable=False)
    gone_at: ColumnElement[float | None] = Column(_REAL)
    change: ColumnElement[int | None] = Column(_BIG)


class ModelRow(Model, name="models"):
    """A model that made predictions. `key` is a digest of everything that determines its outputs."""

    id: ColumnElement[int] = Column(_BIG, primary_key=True)
    key: ColumnElement[str] = Column(_TEXT, unique=True, nullable=False)
    name: ColumnElement[str] = Column(_TEXT, nullable=False)
    architecture: ColumnElement[str] = Column(_TEXT, nullable=False)
    weights_digest: ColumnElement[str] = Column(_TEXT, nullable=False)
    labels: ColumnElement[list[str]] = Column(JSON, nullable=False)
    input: ColumnElement[dict[str, Any]] = Column(JSON, nullable=False)
    embedding_size: ColumnElement[int] = Column(Integer, nullable=False)
    spaces: ColumnElement[dict[str, int]] = Column(JSON, nullable=False, server_default="{}")
    backbone_digest: ColumnElement[str] = Column(_TEXT, nullable=False, server_default="")
    precision: ColumnElement[str] = Column(_TEXT, nullable=False, server_default="fp32")
    embedder_id: ColumnElement[int] = Column(ForeignKey("embedders.id"))  # SQLite adds no column that is NOT NULL


class EmbedderRow(Model, name="embedders"):
    """A network without its last layer, which computes embeddings. Models with the same embedder share embeddings."""

    id: ColumnElement[int] = Column(_BIG, primary_key=True)
    key: ColumnElement[str] = Column(_TEXT, unique=True, nullable=False)


class FaceDetectorRow(Model, name="finders"):
    """A face detector. A run or prediction without one did not detect faces."""

    id: ColumnElement[int] = Column(_BIG, primary_key=True)
    key: ColumnElement[str] = Column(_TEXT, unique=True, nullable=False)


class PredictionRow(
    Model,
    name="predictions",
    checks=("score BETWEEN 0 AND 1", '(region = 0) = ("left" IS NULL)'),
    sqlite_autoincrement=True,
):
    """A model's prediction for one region of an image. Ids are never used again, so a greater one is newer.

    `probabilities` are little-endian float32 in the order of the model's labels. `emotion` and `score` are what searches compare,
    see `effective_emotion`. An image has either region 0, the whole image, without a box, or its faces, numbered from 1, largest
    first. Boxes are fractions of width and height. `compared_to` is the id of the newest prediction among which look-alikes were
    searched for, -1 for a new prediction, and 0 if it has new look-alikes since, see `indexer.domain.predictions`. `frame` is the
    number, from 1, of the frame of an animation; null for a still image. `digest_start` is that of the image's digest, see
    `DIGEST_START_BYTES`: searches order equal scores by it.
    """

    id: ColumnElement[int] = Column(_BIG, primary_key=True)
    image_id: ColumnElement[int] = Column(ForeignKey("images.id"), nullable=False)
    model_id: ColumnElement[int] = Column(ForeignKey("models.id"), nullable=False)
    region: ColumnElement[int] = Column(Integer, nullable=False)
    finder_id: ColumnElement[int | None] = Column(ForeignKey("finders.id"))
    left: ColumnElement[float | None] = Column(_REAL)
    top: ColumnElement[float | None] = Column(_REAL)
    right: ColumnElement[float | None] = Column(_REAL)
    bottom: ColumnElement[float | None] = Column(_REAL)
    emotion: ColumnElement[str] = Column(_TEXT, nullable=False)
    score: ColumnElement[float] = Column(_REAL, nullable=False)
    probabilities: ColumnElement[bytes] = Column(LargeBinary, nullable=False)
    compared_to: ColumnElement[int] = Column(_BIG, nullable=False, server_default=text("-1"))
    frame: ColumnElement[int | None] = Column(Integer)
    digest_start: ColumnElement[bytes] = Column(LargeBinary)  # SQLite adds no column that is NOT NULL


class LabelRow(Model, name="labels"):
    """A user's label of an image; it overrides every prediction of that image.

    `last_path` is where the image was when its last file got other content; None while no file did.
    """

    image_id: ColumnElement[int] = Column(ForeignKey("images.id"), primary_key=True)
    emotion: ColumnElement[str] = Column(_TEXT, nullable=False)
    said_at: ColumnElement[float] = Column(_REAL, nullable=False)
    last_path: ColumnElement[bytes | None] = Column(LargeBinary)


class HiddenRow(Model, name="hidden"):
    """A mark of a user that keeps an image out of searches and exports. `hidden_at` is in seconds since the epoch."""

    image_id: ColumnElement[int] = Column(ForeignKey("images.id"), primary_key=True)
    hidden_at: ColumnElement[float] = Column(_REAL, nullable=False)


class EmbeddingRow(Model, name="embeddings"):
    """The embedding of a region of an image: little-endian float16, each space's part of length 1.

    Models with the same embedder share it. It is not in `predictions`, whose pages searches read. `fingerprint` is that of
    `indexer.domain.fingerprints`; null if unknown.
    """

    id: ColumnElement[int] = Column(_BIG, primary_key=True)
    embedder_id: ColumnElement[int] = Column(ForeignKey("embedders.id"), nullable=False)
    image_id: ColumnElement[int] = Column(ForeignKey("images.id"), nullable=False)
    region: ColumnElement[int] = Column(Integer, nullable=False)
    vector: ColumnElement[bytes] = Column(LargeBinary, nullable=False)
    fingerprint: ColumnElement[bytes | None] = Column(LargeBinary)


class TagRow(Model, name="tags"):
    """The name of a tag, as `indexer.domain.tags.canonical_tag` returns it."""

    id: ColumnElement[int] = Column(_BIG, primary_key=True)
    name: ColumnElement[str] = Column(_TEXT, unique=True, nullable=False)


class ImageTagRow(Model, name="image_tags", checks=("score BETWEEN 0 AND 1",)):
    """A tag of an image with its probability. Models with the same embedder share tags, as they share embeddings."""

    id: ColumnElement[int] = Column(_BIG, primary_key=True)
    embedder_id: ColumnElement[int] = Column(ForeignKey("embedders.id"), nullable=False)
    image_id: ColumnElement[int] = Column(ForeignKey("images.id"), nullable=False)
    tag_id: ColumnElement[int] = Column(ForeignKey("tags.id"), nullable=False)
    score: ColumnElement[float] = Column(_REAL, nullable=False)


class JobRow(Model, name="jobs", checks=("every > 0",)):
    """A scheduled job and its status, see `Job` and `JobStatus` of `indexer.domain.jobs`. Paths are absolute."""

    id: ColumnElement[int] = Column(_BIG, primary_key=True)
    name: ColumnElement[str] = Column(_TEXT, unique=True, nullable=False)
    roots: ColumnElement[list[str]] = Column(JSON, nullable=False)
    cron: ColumnElement[str | None] = Column(_TEXT)
    every: ColumnElement[float | None] = Column(_REAL)
    watch: ColumnElement[int] = Column(Integer, nullable=False)
    options: ColumnElement[dict[str, Any]] = Column(JSON, nullable=False)
    added_at: ColumnElement[float] = Column(_REAL, nullable=False)
    begun_at: ColumnElement[float | None] = Column(_REAL)
    ended_at: ColumnElement[float | None] = Column(_REAL)
    succeeded_at: ColumnElement[float | None] = Column(_REAL)
    retry_at: ColumnElement[float | None] = Column(_REAL)
    outcome: ColumnElement[str | None] = Column(_TEXT)
    reason: ColumnElement[str | None] = Column(_TEXT)
    failures: ColumnElement[int] = Column(Integer, nullable=False, server_default=text("0"))


class GenerationRow(Model, name="generations"):
    """One transaction that wrote or removed predictions. Its token ties a stored vector index to this database."""

    id: ColumnElement[int] = Column(_BIG, primary_key=True)
    model_id: ColumnElement[int] = Column(ForeignKey("models.id"), nullable=False)
    last_prediction_id: ColumnElement[int] = Column(_BIG, nullable=False)
    token: ColumnElement[str] = Column(_TEXT, nullable=False)


class PageAnchorRow(Model, name="marks"):
    """A page anchor: a rank (`place`, from 0) in a list, with the image or file there.

    In a list of some emotions, `place` is the number of hits before those of an image, given by `score` and `digest_start`; in
    the list of all files by age, the number of files before the file `file_id`.
    """

    model_id: ColumnElement[int] = Column(ForeignKey("models.id"), primary_key=True)
    emotions: ColumnElement[str] = Column(_TEXT, primary_key=True)
    place: ColumnElement[int] = Column(_BIG, primary_key=True)
    score: ColumnElement[float | None] = Column(_REAL)
    digest_start: ColumnElement[bytes | None] = Column(LargeBinary)
    file_id: ColumnElement[int | None] = Column(_BIG)
