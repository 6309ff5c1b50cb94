"""The answers and the bodies of the HTTP API, as its OpenAPI description lists them.

Answers have the fields of the JSON that commands print. Fields with a default of None are left out if they do not apply.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MAX_SELECTED = 10_000
"""Images that one request can name."""

MAX_WORD_LETTERS = 200

ImageId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""The hex digest of an image."""

PathId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""The hex digest of the path of a folder or root: requests name no paths."""

Word = Annotated[str, StringConstraints(min_length=1, max_length=MAX_WORD_LETTERS)]
"""An emotion, by any synonym, a tag, or the name of a model."""

PointNumber = Annotated[int, Field(ge=0, lt=1 << 31)]
"""A point of the map, from 0."""

Selection = Annotated[list[ImageId], Field(min_length=1, max_length=MAX_SELECTED)]


class Body(BaseModel):
    """The body of a request. Unknown fields are errors."""

    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """An error as RFC 9457 describes it. `detail` is a sentence for people."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[dict[str, Any]] | None = None


class Hit(BaseModel):
    """A file that matches, with its best-matching face; the fields of `moodex search --json`, and the size of the image.

    - `box`: left, top, right and bottom edge of the face in pixels of the image. `size`: width and height of the image.
    - `similarity`: cosine to the image of the query. `copies`: near-duplicates that are not shown.
    - `tags`: the probability of each tag, in a search by tag, and of one image if a tagger analyzed it.
    """

    path: str
    image_id: str
    emotion: str
    score: float
    emotions: dict[str, float]
    similarity: float | None
    size: list[int]
    label: str | None = None
    box: list[int] | None = None
    frame: int | None = None
    incomplete: bool | None = None
    missing: bool | None = None
    copies: int | None = None
    tags: dict[str, float] | None = None


class Page(BaseModel):
    """A page of hits. `next` is the cursor of the next page, null on the last one."""

    hits: list[Hit]
    next: str | None


class CountedPage(Page):
    """A page with the number of all hits; if it is not `exact`, there are more. `total` is null on pages after the first."""

    total: int | None
    exact: bool


class SearchAnswer(CountedPage):
    """A page of search results.

    `total` is null with `dedupe`, too. `query` is the id of an uploaded image, for `GET /search`.
    """

    query: str | None = None


class ImageFile(BaseModel):
    """A file of an image, and whether it exists now."""

    path: str
    exists: bool


class Image(Hit):
    """An image: its largest face as in `moodex show --json`, all its `faces`, its files, and whether it is hidden."""

    faces: list[Hit]
    files: list[ImageFile]
    hidden: bool


class QueryImage(BaseModel):
    """An uploaded image: its id for `GET /search?query=`, whether it is indexed, and its faces, the largest first."""

    query: str
    image_id: str
    indexed: bool
    faces: list[Hit]


class EmotionCount(BaseModel):
    """An emotion with the number of images under a filter; if it is not `exact`, there are more.

    `parent` is the emotion that includes it. `own`: whether only users' labels have it.
    """

    emotion: str
    count: int
    exact: bool
    parent: str | None
    own: bool


class Emotions(BaseModel):
    """All emotions of the model in use and of labels, in the model's order.

    `reads_text`: whether the model has a text encoder. `has_tags`: whether an image has a tag by it, or by `similar_by`.
    """

    model: str
    reads_text: bool
    has_tags: bool
    emotions: list[EmotionCount]


class Folder(BaseModel):
    """A folder with indexed images; `images` counts the files at and below it, `folders` the folders directly in it."""

    id: str
    name: str
    path: str
    images: int
    folders: int
    root: bool


class Folders(BaseModel):
    """The folders directly in one folder, or the roots; `path` leads from a root to that folder."""

    path: list[Folder]
    folders: list[Folder]


class Model(BaseModel):
    """An installed model, as in `moodex models list --json`."""

    name: str
    default: bool
    origin: str
    architecture: str
    labels: list[str]
    input_size: int
    embedding_size: int
    weights_digest: str
    key: str
    images: int


class LabelBody(Body):
    """A label for some images; `emotion` null removes their labels. `new` allows an emotion that is not known yet."""

    image_ids: Selection
    emotion: Word | None
    new: bool = False


class Changed(BaseModel):
    """Numbers of images, and the id with which the change can be undone; null if nothing changed."""

    changed: int
    unchanged: int
    skipped: int | None = None
    undo: str | None = None


class UndoBody(Body):
    """The change to undo; the last one without an id."""

    undo: str | None = None


class Label(BaseModel):
    """A label, as in `moodex label --list --json`."""

    path: str | None
    label: str
    image_id: str


class Labels(BaseModel):
    """A page of labels, by path."""

    labels: list[Label]
    next: str | None
    total: int


class HideBody(Body):
    """Images to hide, or to show again."""

    image_ids: Selection
    hidden: bool = True


class Suggestion(BaseModel):
    """An image whose label would teach the model most, as in `moodex teach --suggest N --json`."""

    path: str
    image_id: str
    emotion: str
    score: float


class Doubt(BaseModel):
    """A label that the model disagrees with, as in `moodex doubts --json`."""

    path: str
    image_id: str
    said: str
    said_score: float
    other: str
    other_score: float


TaskKind = Literal["index", "teach", "undo", "check", "map"]
TaskState = Literal["running", "done", "failed", "interrupted"]


class Task(BaseModel):
    """Work in a process of its own. `total` is the number of files or images of the present step, `done` those finished.

    `result` is the JSON that the command prints: of `moodex index`, `teach`, `teach --undo`, `doctor` or `map`. `error` is a
    sentence.
    """

    id: str
    kind: TaskKind
    state: TaskState
    started_at: float
    ended_at: float | None
    found: int
    done: int
    failed: int
    total: int | None
    warnings: list[str]
    result: dict[str, Any] | None
    error: str | None


class RunBody(Body):
    """A run over some roots, by id, or over all of them."""

    roots: Annotated[list[PathId], Field(min_length=1, max_length=1000)] | None = None
    force: bool = False
    verify: bool = False


class TeachBody(Body):
    """A teaching; `name` is that of the new version."""

    name: Annotated[str, StringConstraints(pattern=r"^[\w][\w.-]{0,63}$")] | None = None


class Root(BaseModel):
    """A root, as in `moodex roots --json`, with its id."""

    id: str
    path: str
    files: int
    indexed_at: float
    exists: bool


class Run(BaseModel):
    """A run, as in `moodex runs --json`."""

    id: int
    started_at: float
    ended_at: float | None
    seconds: float | None
    outcome: str
    reason: str | None
    models: list[str]
    roots: list[str]
    counts: dict[str, int]


class Runs(BaseModel):
    """A page of runs, newest first. `writer`: whether any process writes to the library now; `task`: that of this server."""

    runs: list[Run]
    next: str | None
    writer: bool
    task: str | None


class Failure(BaseModel):
    """A file that failed."""

    path: str
    kind: str
    reason: str


class Failures(BaseModel):
    """A page of failed files, by path."""

    failures: list[Failure]
    next: str | None


class Job(BaseModel):
    """A scheduled job, as in `moodex schedule list --json`."""

    name: str
    paths: list[str]
    cron: str | None
    every_seconds: float | None
    watch: bool
    options: dict[str, Any]
    added_at: float
    next_at: float | None
    last: dict[str, Any]


class Status(BaseModel):
    """The state of the library, as in `moodex status --json`."""

    home: str
    files: dict[str, int]
    images: int
    hidden: int
    models: list[dict[str, Any]]
    runs: list[Run]
    failures: list[Failure]
    disk_bytes: dict[str, int]


class Doctor(BaseModel):
    """The last check of the library: its time and its report, as in `moodex doctor --json`; null before the first."""

    checked_at: float | None
    report: dict[str, Any] | None


class CollectBody(Body):
    """A selection that is to be downloaded or written."""

    image_ids: Selection


class Collection(BaseModel):
    """A selection that the server keeps for an hour, for the routes below `/collections/{id}`."""

    id: str
    images: int
    bytes: int


class LinkBody(Body):
    """A folder of links, by name, in the folder `collections` of the library."""

    name: Annotated[str, StringConstraints(pattern=r"^[\w][\w .-]{0,63}$")]


class Collected(BaseModel):
    """The result of writing links: their folder, the numbers of new and present ones, and files that are missing."""

    folder: str
    done: int
    present: int
    missing: list[str]


class Map(BaseModel):
    """The map of the library, a point for each face and for each image without faces; null and 0 before it is made.

    - `version` names it in other requests. `fitted`: points that the projection was fitted on.
    - `absent`: faces that are not on the map, because they were analyzed after it was made.
    """

    model: str
    version: str | None
    points: int
    fitted: int
    absent: int
    made_at: float | None


class PointsBody(Body):
    """Points of a map, by number from 0."""

    version: Word
    points: Annotated[list[PointNumber], Field(min_length=1, max_length=MAX_SELECTED)]


class FewPointsBody(Body):
    """Points of a map whose images are to be shown."""

    version: Word
    points: Annotated[list[PointNumber], Field(min_length=1, max_length=200)]


class PointImage(BaseModel):
    """A point of the map and its image."""

    point: int
    hit: Hit


class PointImages(BaseModel):
    """The images of some points, in their order, without those that have no file any more."""

    images: list[PointImage]


class PointIds(BaseModel):
    """The ids of the images of some points, each once, in their order."""

    image_ids: list[str]


class Explanation(BaseModel):
    """Which parts of an image speak for an emotion: the network's input and its heat map, as PNG in data URLs.

    `heat` are transparent colors to lay over `image`.
    """

    emotion: str
    probability: float
    method: str
    image: str
    heat: str


class Health(BaseModel):
    """Whether the server works."""

    status: str
    version: str
