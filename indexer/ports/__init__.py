"""What the application asks of the world outside it, and the records that cross that line.

Records are named tuples: every command defines them all as it starts, and a frozen dataclass takes several times as long.
Adapters live in `models`, `db` and `render`; `tests/contracts` has one suite per port that every implementation passes.
"""

from indexer.ports.models import Classifier, FaceFinder
from indexer.ports.progress import Progress
from indexer.ports.store import Store
from indexer.ports.store_reader import Counts, Filter, PictureFile, RankedHit, RunRecord, RunTotals, Sample, Shelf, StoredModel
from indexer.ports.store_writer import Batch, Catalog, FolderNote, KnownFile, PendingFile, Predicted, Score
from indexer.ports.vectors import NOT_THE_MODELS, Generation, Segment, Selection, VectorFiles, VectorIndex, VectorRows

__all__ = [
    "NOT_THE_MODELS",
    "Batch",
    "Catalog",
    "Classifier",
    "Counts",
    "FaceFinder",
    "Filter",
    "FolderNote",
    "Generation",
    "KnownFile",
    "PendingFile",
    "PictureFile",
    "Predicted",
    "Progress",
    "RankedHit",
    "RunRecord",
    "RunTotals",
    "Sample",
    "Score",
    "Segment",
    "Selection",
    "Shelf",
    "Store",
    "StoredModel",
    "VectorFiles",
    "VectorIndex",
    "VectorRows",
]
