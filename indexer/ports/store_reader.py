"""The reading half of the store, and its records."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from indexer.domain.export import ExportChunk, ExportFilter
    from indexer.domain.files import Counts, Failure, FileStamp, IndexedFile, IndexedRoot
    from indexer.domain.models import StoredModel
    from indexer.domain.predictions import LabeledImage
    from indexer.domain.queries import Hit, HitKey, SearchQuery
    from indexer.domain.runs import RunRecord, RunTotals
    from indexer.domain.types import Floats, Halves, Ids
    from indexer.ports.vectors import Generation, VectorRows


class HitFilter(NamedTuple):
    """The hits that a search may show: their emotions (None: any), minimum score, and folders or files, of which they are at or
    below one (none: all).

    Images that the user hid are shown only with `hidden`. Images with a face of an `excluded` emotion are not shown, whatever the
    emotions of their other faces. Images must have all `tags`, and none of the `excluded_tags`. Another model must have analyzed
    them, too, if its id is `also_by`; its tags then count as well.
    """

    emotions: frozenset[str] | None = None
    min_score: float = 0.0
    under: tuple[bytes, ...] = ()
    excluded: frozenset[str] = frozenset()
    hidden: bool = False
    tags: frozenset[str] = frozenset()
    excluded_tags: frozenset[str] = frozenset()
    also_by: int | None = None


def filter_of(query: SearchQuery) -> HitFilter:
    """Return the filter of a query."""
    return HitFilter(
        emotions=query.emotions,
        min_score=query.min_score,
        under=query.under,
        excluded=query.excluded,
        hidden=query.hidden,
        tags=query.tags,
        excluded_tags=query.excluded_tags,
        also_by=query.similar_by,
    )


class ImageFile(NamedTuple):
    """A file, the digest of its image, and its stamp when it was read; None if the file is pending."""

    path: bytes
    digest: bytes
    stamp: FileStamp | None


class RankedHit(NamedTuple):
    """A hit with the ids of its prediction and, in a list of files, of its file."""

    prediction_id: int
    hit: Hit
    file_id: int = 0


class Sample(NamedTuple):
    """Some predictions of a model: `ids` and `vectors` as in `VectorRows`, `probabilities` float32, (N, labels)."""

    ids: Ids
    vectors: Halves
    probabilities: Floats


class RegionIds(NamedTuple):
    """N predictions of a model: `ids`, int64, (N,), ascending, and `keys`, int64, (N,), see `indexer.domain.maps.region_keys`."""

    ids: Ids
    keys: Ids


class ComparedRows(NamedTuple):
    """N predictions of a model with what is needed to read them beside their look-alikes.

    - `ids`: int64, (N,), ascending. `images`: int64, (N,), equal for predictions of the same image.
    - `compared_to`: int64, (N,), id of the newest prediction with which each was compared, or `NEVER_COMPARED` or
      `GROUP_CHANGED` of `indexer.domain.predictions`.
    - `probabilities`: float32, (N, labels). `vectors`: float16, (N, embedding size).
    """

    ids: Ids
    images: Ids
    compared_to: Ids
    probabilities: Floats
    vectors: Halves


class StoreReader(Protocol):
    """The reading half of the store. Damaged rows raise StoreDamaged, unknown models NotIndexed."""

    def models(self) -> list[StoredModel]:
        """Return every model in the store, oldest first."""

    def image_count(self, model_id: int) -> int:
        """Return the number of images of which a model has predictions."""

    def counts(self) -> Counts:
        """Return the number of files by state and of images."""

    def runs(self, limit: int) -> list[RunRecord]:
        """Return the latest runs, newest first."""

    def totals(self) -> RunTotals:
        """Return the totals of all runs."""

    def failures(self, limit: int, after: bytes | None = None) -> list[tuple[bytes, Failure]]:
        """Return failed files with their reasons, by folder and name; with `after`, those that follow this path."""

    def ranked(self, model_id: int, chosen: HitFilter, limit: int, offset: int, after: HitKey | None = None) -> list[RankedHit]:
        """Return one page of the live files that pass a filter, best first; with `after`, only those that follow it.

        A file is ranked by its best face. Equal scores are ordered by digest of the image, then by folder and name of the file.
        If the file of `after` is not known any more, the other files of its image are left out.
        """

    def newest(self, model_id: int, chosen: HitFilter, limit: int, before: int | None, offset: int = 0) -> list[RankedHit]:
        """Return one page of the live files that pass a filter, the latest entry first; with `before`, those with lower ids.

        `offset` skips so many of them. Each file is shown with its best face among the wanted emotions.
        """

    def count_hits(self, model_id: int, chosen: HitFilter, most: int | None = None) -> int:
        """Return the number of hits that `ranked` returns without a limit; `most` + 1 if there are more than `most`."""

    def count_ranked(self, model_id: int, chosen: HitFilter) -> int | None:
        """Return the number of hits that `ranked` returns without a limit; None if the store would have to count them all."""

    def count_by_emotion(self, model_id: int, chosen: HitFilter, groups: Mapping[str, Collection[str]]) -> dict[str, int] | None:
        """Return the number of hits that each group of emotions would have in a filter, by the name of the group.

        Of a group, only the emotions count that the filter wants. None if it wants all, and the store would have to read too
        many files for that.
        """

    def hits(self, model_id: int, prediction_ids: Sequence[int], chosen: HitFilter) -> dict[int, list[Hit]]:
        """Return the live files of predictions, by path, by prediction id; predictions without such files are left out.

        Of the filter, only emotions and minimum score do not count.
        """

    def prediction_ids(self, model_id: int, chosen: HitFilter, most: int | None = None) -> Ids | None:
        """Return the ids of all live predictions that pass a filter: int64, ascending; None if there are more than `most`."""

    def hits_of_images(self, model_id: int, prediction_ids: Sequence[int], chosen: HitFilter) -> dict[int, list[Hit]]:
        """Return hits by a model of the images of another model's predictions, by the ids of these.

        Where both models detected the same face, the hit is that face; otherwise it is the best region of the image. Images
        without a hit in the filter are left out. Files are in the order of `hits`.
        """

    def prediction_ids_of_other(self, model_id: int, chosen: HitFilter) -> Ids:
        """Return the ids of the predictions by `chosen.also_by` of images with a live prediction that passes a filter.

        int64, ascending.
        """

    def tags_of(self, model_id: int, digests: Collection[bytes]) -> dict[bytes, dict[str, float]]:
        """Return the tags of images by digest, with their probabilities, the most probable first; only of tagged images."""

    def has_tags(self, model_id: int) -> bool:
        """Return whether at least one image has a tag by a model."""

    def known_tags(self, model_id: int, tags: Collection[str]) -> set[str]:
        """Return those of some tags that at least one image has by a model."""

    def roots(self) -> list[IndexedRoot]:
        """Return the roots that users indexed, by path."""

    def files_by_folder(self) -> dict[bytes, int]:
        """Return the number of live files directly in each folder that has any."""

    def image_files_at(self, paths: Collection[bytes]) -> dict[bytes, list[ImageFile]]:
        """Return, for each path, the live file there or else those below it, by path."""

    def files_of_image(self, digest: bytes) -> list[ImageFile]:
        """Return the live files of an image, by path."""

    def indexed_files(self, after: int, limit: int) -> list[IndexedFile]:
        """Return the next files that are done, oldest first: at most `limit` with ids above `after`."""

    def still_indexed(self, files: Sequence[IndexedFile]) -> set[IndexedFile]:
        """Return those files whose rows have not changed. They must be neighbors in the order of `indexed_files`."""

    def known_paths(self, paths: Collection[bytes]) -> set[bytes]:
        """Return those paths at or below which there is a live file."""

    def digests_with_prefix(self, digest_prefix: str) -> list[bytes]:
        """Return the digests of up to two images whose hex digest starts with a prefix, in lower case."""

    def hidden_of(self, digests: Collection[bytes]) -> set[bytes]:
        """Return those of some images, by digest, that the user hid."""

    def count_hidden(self) -> int:
        """Return the number of images that the user hid."""

    def known_digests(self, digests: Collection[bytes]) -> set[bytes]:
        """Return those digests whose images the store knows, with or without files."""

    def labeled_images(self) -> list[LabeledImage]:
        """Return all labeled images, by path; those without a live file last."""

    def labels_of(self, digests: Collection[bytes]) -> dict[bytes, str]:
        """Return the labels of those images that have one, by digest."""

    def user_emotions(self) -> tuple[str, ...]:
        """Return the emotions of all labels, in alphabetical order. They need not be canonical or known to a model."""

    def sample(self, model_id: int, count: int) -> Sample:
        """Return at most `count` predictions of whole images and main faces, evenly distributed over their age."""

    def predictions_by_digest(self, model_id: int, digest_prefix: str) -> list[int]:
        """Return up to two predictions, of whole images or main faces, whose image's hex digest starts with a prefix."""

    def predicted_at(self, model_id: int, path: bytes) -> list[RankedHit]:
        """Return the live hits of one path, one for each face, largest first."""

    def predicted_as(self, model_id: int, digest: bytes) -> int | None:
        """Return the prediction of an image or its main face by digest, with or without a file; None if none exists."""

    def export_rows(self, model: StoredModel, chosen: ExportFilter) -> Iterator[ExportChunk]:
        """Yield the rows of an export in chunks, by file, then by region, all from one snapshot."""

    def vectors(self, model_id: int, after: int = 0) -> Iterator[VectorRows]:
        """Yield the embeddings of all predictions with ids above `after`, in chunks by id."""

    def region_ids(self, model_id: int) -> RegionIds:
        """Return the ids of all predictions of a model, with the keys of their regions. A label gives predictions new ids."""

    def vectors_of(self, prediction_ids: Sequence[int]) -> dict[int, Halves]:
        """Return the embeddings of some predictions by id: float16, (embedding_size,) each."""

    def regions_of(self, prediction_ids: Sequence[int]) -> dict[int, tuple[bytes, int]]:
        """Return the digest of the image and the number of the region of some predictions, by id."""

    def fingerprints_of(self, prediction_ids: Sequence[int]) -> dict[int, bytes]:
        """Return the fingerprints of the images of some predictions, by id, without those that have none."""

    def count_uncompared(self, model_id: int) -> int:
        """Return the number of predictions that were never compared with others, or whose look-alikes changed."""

    def next_uncompared(self, model_id: int, after: int, limit: int) -> ComparedRows:
        """Return the next predictions that `count_uncompared` counts: at most `limit` with ids above `after`."""

    def compared_rows(self, model_id: int, prediction_ids: Sequence[int]) -> ComparedRows:
        """Return those of some predictions of a model that exist."""

    def regions(self, model_id: int, after: int = 0) -> int:
        """Return the number of predictions of a model with ids above `after`."""

    def generation(self, model_id: int) -> Generation | None:
        """Return the newest generation of a model's predictions; None before the first."""

    def had_generation(self, model_id: int, generation: Generation) -> bool:
        """Return whether a generation is part of the model's history."""
