"""The frames that are analyzed are spread over the time of an animation, whatever its bytes are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from indexer.imaging.decode import MAX_FRAMES, decode
from indexer.imaging.frame_times import spread_frames
from tests.support.builders import SPEC, draw_blocks, encoded
from tests.support.effort import examples


def animation(form: str, times: list[int], **options: object) -> bytes:
    frames = [draw_blocks(number, (32, 32)) for number in range(len(times))]
    return encoded(frames[0], form, save_all=True, append_images=frames[1:], duration=times, **options)


def numbers(data: bytes) -> list[int | None]:
    return [frame.number for frame in decode(data, SPEC).frames]


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
@pytest.mark.parametrize("held", [0, 3, 17, 33, 40])
def test_a_frame_that_is_shown_for_a_third_of_the_time_is_among_them(form: str, held: int) -> None:
    times = [20] * 41
    times[held] = 600
    found = numbers(animation(form, times, lossless=True) if form == "WEBP" else animation(form, times))
    assert held + 1 in found and found[0] == 1 and found[-1] == 41
    assert len(found) == len(set(found)) == MAX_FRAMES


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
def test_frames_of_equal_or_unknown_time_are_spread_over_the_numbers(form: str) -> None:
    for time in (0, 50):
        assert numbers(animation(form, [time] * 41)) == [1, 11, 21, 31, 41]
    assert spread_frames(b"", form, 0, 40, MAX_FRAMES) == spread_frames(b"", "AVIF", 0, 40, MAX_FRAMES) == [0, 10, 20, 30, 40]


def test_a_still_image_before_an_animation_is_not_counted() -> None:
    times = [20] * 9
    times[4] = 2000
    data = animation("PNG", times, default_image=True)
    assert Image.open(__import__("io").BytesIO(data)).info["default_image"]
    assert 6 in numbers(data)


def test_few_frames_are_all_looked_at() -> None:
    assert numbers(animation("GIF", [10, 5000, 10])) == [1, 2, 3]


@given(st.binary(max_size=400), st.sampled_from(["GIF", "PNG", "WEBP"]), st.integers(0, 2), st.integers(1, 50))
@examples(200)
def test_any_bytes_give_frames_of_the_animation(data: bytes, form: str, first: int, more: int) -> None:
    found = spread_frames(data, form, first, first + more, MAX_FRAMES)
    assert found == sorted(set(found)) and found[0] == first and found[-1] == first + more and len(found) <= MAX_FRAMES
