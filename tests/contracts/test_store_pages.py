"""The contract of stores for pages by key: the best hits after one, the latest files, and the files of an image."""

from __future__ import annotations

from indexer.domain.queries import HitKey
from indexer.ports.store_reader import HitFilter, RankedHit
from tests.support.builders import image
from tests.support.scene import ANY, OTHER_STAMP, Scene

SAD = HitFilter(emotions=frozenset({"sad"}))


def some_images(scene: Scene, count: int = 9) -> None:
    """Add images of three emotions, of which some have equal scores, some two files, and some two faces."""
    for number in range(count):
        p = [(0.8, 0.1, 0.1), (0.1, 0.8, 0.1), (0.1, 0.3, 0.6)][number % 3]
        if number % 4 == 3:
            scene.add_faces(f"n{number}", b"/b/%d.png" % number, p, (0.2, 0.7, 0.1))
        else:
            copies = (b"/a/%d-copy.png" % number,) if number % 5 == 1 else ()
            scene.add(f"n{number}", b"/a/%d.png" % number, *copies, p=p, seed=number)


def key(ranked: RankedHit) -> HitKey:
    return HitKey(ranked.hit.score, bytes.fromhex(ranked.hit.image_id), ranked.file_id)


def filters(scene: Scene) -> list[HitFilter]:
    return [ANY, SAD, HitFilter(min_score=0.7), HitFilter(under=(b"/a",)), HitFilter(excluded=frozenset({"sad"}))]


def test_pages_by_key_are_those_by_number(scene: Scene) -> None:
    some_images(scene)
    for chosen in filters(scene):
        everything = scene.store.ranked(scene.model, chosen, 100, 0)
        assert everything
        paged: list[RankedHit] = []
        while page := scene.store.ranked(scene.model, chosen, 2, 0, key(paged[-1]) if paged else None):
            paged += page
        assert paged == everything, chosen


def test_the_latest_files_come_first(scene: Scene) -> None:
    some_images(scene)
    for chosen in filters(scene):
        everything = scene.store.newest(scene.model, chosen, 100, None)
        ids = [ranked.file_id for ranked in everything]
        assert ids == sorted(ids, reverse=True)
        ranked = scene.store.ranked(scene.model, chosen, 100, 0)
        assert sorted(everything, key=key) == sorted(ranked, key=key), chosen
        paged: list[RankedHit] = []
        while page := scene.store.newest(scene.model, chosen, 2, paged[-1].file_id if paged else None):
            paged += page
        assert paged == everything, chosen
        for offset in range(len(everything) + 1):
            assert scene.store.newest(scene.model, chosen, 2, None, offset) == everything[offset : offset + 2], chosen


def test_hidden_and_missing_files_are_not_among_the_latest(scene: Scene) -> None:
    some_images(scene, 3)
    scene.store.hide({image("n0").digest: True})
    scene.store.mark_missing([scene.store.known_files(b"/a", scene.run)[b"2.png"].id])
    paths = [ranked.hit.path for ranked in scene.store.newest(scene.model, ANY, 100, None)]
    assert paths == [b"/a/1-copy.png", b"/a/1.png"]
    assert len(scene.store.newest(scene.model, HitFilter(hidden=True), 100, None)) == 3


def test_a_count_that_is_known_without_counting_is_right(scene: Scene) -> None:
    some_images(scene)
    for chosen in filters(scene):
        known = scene.store.count_ranked(scene.model, chosen)
        assert known in (None, len(scene.store.ranked(scene.model, chosen, 100, 0)))


def test_counts_by_emotion_are_those_of_searches(scene: Scene) -> None:
    some_images(scene)
    groups = {"sad": {"sad", "crying"}, "happy": {"happy"}, "none of these": set[str]()}
    for chosen in filters(scene):
        counted = scene.store.count_by_emotion(scene.model, chosen, groups)
        wanted = {
            name: frozenset(group if chosen.emotions is None else chosen.emotions & group) for name, group in groups.items()
        }
        expected = {name: scene.store.count_hits(scene.model, chosen._replace(emotions=group)) for name, group in wanted.items()}
        assert counted == expected or (counted is None and chosen.emotions is None), chosen
    assert scene.store.count_by_emotion(scene.model, HitFilter(under=(b"/a",)), groups) is not None


def test_the_files_of_an_image(scene: Scene) -> None:
    scene.add("one", b"/b/first.png", b"/a/second.png")
    scene.add("other", b"/a/other.png", seed=1)
    digest = image("one").digest
    files = scene.store.files_of_image(digest)
    assert [(file.path, file.digest, file.stamp is not None) for file in files] == [
        (b"/a/second.png", digest, True),
        (b"/b/first.png", digest, True),
    ]
    scene.record_scan(b"/b/first.png", stamp=OTHER_STAMP)
    assert [file.stamp is not None for file in scene.store.files_of_image(digest)] == [True, False]
    scene.store.mark_missing([scene.store.known_files(b"/a", scene.run)[b"second.png"].id])
    assert [file.path for file in scene.store.files_of_image(digest)] == [b"/b/first.png"]
    assert scene.store.files_of_image(b"\0" * 32) == []


def test_the_live_files_of_each_folder_are_counted(scene: Scene) -> None:
    assert scene.store.files_by_folder() == {}
    scene.add("one", b"/a/1.png", b"/a/b/1.png")
    scene.add("two", b"/a/2.png", seed=1)
    assert scene.store.files_by_folder() == {b"/a": 2, b"/a/b": 1}
    scene.store.mark_missing([scene.store.known_files(b"/a/b", scene.run)[b"1.png"].id])
    assert scene.store.files_by_folder() == {b"/a": 2}
