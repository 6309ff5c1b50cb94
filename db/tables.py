"""The tables, as typed SQLAlchemy models. The schema itself is made by `migrations`, step by step, never from here."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Float, ForeignKey, Index, Integer, LargeBinary, String, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """What all tables share."""


class FolderRow(Base):
    """A folder that holds known files. `path` is absolute, in the file system's own bytes."""

    __tablename__ = "folders"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    path: Mapped[bytes] = mapped_column(LargeBinary, unique=True)


class ImageRow(Base):
    """A picture, known by the BLAKE3 digest of its bytes."""

    __tablename__ = "images"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    width: Mapped[int] = mapped_column(Integer)
    height: Mapped[int] = mapped_column(Integer)
    format: Mapped[str] = mapped_column(String)


class RunRow(Base):
    """One indexing job."""

    __tablename__ = "runs"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    started_at: Mapped[float] = mapped_column(Float)
    ended_at: Mapped[float | None] = mapped_column(Float)
    roots: Mapped[list[str]] = mapped_column(JSON)
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"))
    pid: Mapped[int] = mapped_column(Integer)
    outcome: Mapped[str] = mapped_column(String)
    counts: Mapped[dict[str, int]] = mapped_column(JSON)


class FileRow(Base):
    """A path and what it looked like. It is live, and found by searches, while it has a picture and is done or pending."""

    __tablename__ = "files"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    folder_id: Mapped[int] = mapped_column(ForeignKey("folders.id"))
    name: Mapped[bytes] = mapped_column(LargeBinary)
    size: Mapped[int] = mapped_column(Integer)
    mtime_ns: Mapped[int] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(String)
    failure_kind: Mapped[str | None] = mapped_column(String)
    failure_reason: Mapped[str | None] = mapped_column(String)
    image_id: Mapped[int | None] = mapped_column(ForeignKey("images.id"))
    appeared_run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))

    __table_args__ = (
        Index("files_by_path", "folder_id", "name", unique=True),
        Index("files_by_image", "image_id"),
        Index("files_waiting", "id", sqlite_where=text("state = 'pending'")),
        Index("files_failed", "id", sqlite_where=text("state = 'failed'")),
    )


class ModelRow(Base):
    """A model that made predictions. `key` covers everything that decides its outputs."""

    __tablename__ = "models"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    key: Mapped[str] = mapped_column(String, unique=True)
    name: Mapped[str] = mapped_column(String)
    architecture: Mapped[str] = mapped_column(String)
    weights_digest: Mapped[str] = mapped_column(String)
    labels: Mapped[list[str]] = mapped_column(JSON)
    input: Mapped[dict[str, Any]] = mapped_column(JSON)
    embedding_size: Mapped[int] = mapped_column(Integer)


class PredictionRow(Base):
    """What one model says of one region of a picture. Ids are never used again, so a greater one is newer.

    `probabilities` are little-endian float32 in the order of the model's labels; `emotion` is the most probable label and
    `score` its probability. Region 0 is the whole picture and has no box; boxes are fractions of width and height.
    """

    __tablename__ = "predictions"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"))
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"))
    region: Mapped[int] = mapped_column(Integer)
    left: Mapped[float | None] = mapped_column(Float)
    top: Mapped[float | None] = mapped_column(Float)
    right: Mapped[float | None] = mapped_column(Float)
    bottom: Mapped[float | None] = mapped_column(Float)
    emotion: Mapped[str] = mapped_column(String)
    score: Mapped[float] = mapped_column(Float)
    probabilities: Mapped[bytes] = mapped_column(LargeBinary)

    __table_args__ = (
        Index("predictions_by_image", "image_id", "model_id", "region", unique=True),
        Index("predictions_by_score", "model_id", "emotion", text("score DESC"), "id"),
        {"sqlite_autoincrement": True},
    )


class EmbeddingRow(Base):
    """The vector of a prediction: little-endian float16, of length 1. Apart from predictions, whose pages searches read."""

    __tablename__ = "embeddings"

    prediction_id: Mapped[int] = mapped_column(ForeignKey("predictions.id", ondelete="CASCADE"), primary_key=True)
    vector: Mapped[bytes] = mapped_column(LargeBinary)


class GenerationRow(Base):
    """One transaction that wrote predictions. Its token tells whether a kept vector index belongs to this database's past."""

    __tablename__ = "generations"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"))
    last_prediction_id: Mapped[int] = mapped_column(Integer)
    token: Mapped[str] = mapped_column(String)

    __table_args__ = (Index("generations_by_model", "model_id", "last_prediction_id"),)


class MigrationRow(Base):
    """The ledger: which schema steps this database has had."""

    __tablename__ = "migrations"

    name: Mapped[str] = mapped_column(String, primary_key=True)
    applied_at: Mapped[float] = mapped_column(Float)
