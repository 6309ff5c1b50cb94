"""The lite form of moodex: without PyTorch, every command works but four, and these say what to install."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from indexer.domain.emotions import EMOTIONS
from indexer.domain.images import InputSpec
from indexer.domain.models import ModelCard
from indexer.system.optional import TORCH
from models import checkpoint, zoo
from models.architectures.registry import architecture
from recipes.lite import ROOT, TARGET, lite_requirements
from tests.e2e.conftest import EXAMPLES, Block, Run
from tests.e2e.test_processes import all_commands
from tests.e2e.test_serve import get, serving
from tests.support import drawn, hub
from tests.support.builders import write_images

HEAD = EXAMPLES / "bigheads/head-01.png"

NEED_TORCH = {
    "train": ("FACES", "--name", "mine"),
    "evaluate": ("default", "FACES"),
    "compare": ("FACES",),
    "explain": (str(HEAD),),
}
"""The commands that need PyTorch, with arguments."""

WALK = (
    ("index", "FACES"),
    ("index", "FACES"),
    ("search", "--emotion", "happy"),
    ("search", str(HEAD), "--emotion", "sad"),
    ("show", str(HEAD)),
    ("show", "FACES/anna/happy/0.png"),
    ("label", "FACES/anna/happy", "FACES/ben/happy", "-e", "happy"),
    ("label", "FACES/anna/sad", "FACES/ben/sad", "-e", "smug", "--new"),
    ("hide", "FACES/ben/sad/0.png"),
    ("doubts",),
    ("teach", "--suggest", "3"),
    ("teach", "--name", "mine"),
    ("index", "FACES", "--force"),
    ("teach", "--undo"),
    ("map",),
    ("export", "OUT/labels.csv"),
    ("import", "OUT/labels.csv"),
    ("sidecars", "--xmp", "--dry-run"),
    ("status",),
    ("runs",),
    ("roots",),
    ("schedule", "add", "nightly", "FACES", "--cron", "0 3 * * *"),
    ("schedule", "list"),
    ("schedule", "run", "--once"),
    ("schedule", "unit"),
    ("schedule", "remove", "nightly"),
    ("models", "list"),
    ("models", "add", str(zoo.checkpoints()[zoo.DEFAULT]), "--name", "copy"),
    ("compare-models", "FACES", "moodex-lite0", "copy"),
    ("models", "blend", "both", "moodex-lite0", "copy", "--weights", "1,2"),
    ("models", "remove", "both"),
    ("models", "default", "copy"),
    ("models", "default", "moodex-lite0"),
    ("models", "remove", "copy"),
    ("models", "export", "moodex-lite0", "--output", "OUT/model.onnx"),
    ("backup", "OUT/library.zip"),
    ("restore", "OUT/library.zip", "--yes"),
    ("doctor", "--repair"),
    ("doctor", "--deep"),
    ("move", "FACES", "MOVED"),
    ("forget", "MOVED"),
)
"""Every other command, in an order in which each has something to do. Before `move`, the test moves the folder."""

SERVERS = {"serve", "mcp"}
OF_TAGGERS = {"models calibrate"}
OF_DATABASE_SERVERS = {"migrate"}
OF_MANY_IMAGES = {"cluster plan"}


@pytest.fixture
def lite(process: Run, without: Block) -> Run:
    """Run moodex in a process that cannot import PyTorch."""
    without(*TORCH)
    return process


def test_the_requirements_are_current() -> None:
    assert TARGET.read_text(encoding="utf-8") == lite_requirements(), "run: python -m recipes.lite"
    assert "torch" not in lite_requirements().partition("\nblake3")[2]


def test_the_image_contains_every_package() -> None:
    """The Dockerfile names what it copies, and .dockerignore what it may copy."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copied = {word for line in lines if line.startswith("COPY ") and "--from" not in line for word in line.split()[1:-1]}
    allowed = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert copied == allowed and all((ROOT / name).exists() for name in copied)
    assert {pattern.removesuffix("*") for pattern in packages} <= copied
    assert any(line.startswith("USER ") and "root" not in line for line in lines)


def test_every_command_has_a_line_here() -> None:
    walked = {" ".join(words[:2]) if words[0] in ("models", "schedule") else words[0] for words in WALK}
    assert walked | NEED_TORCH.keys() | SERVERS | OF_TAGGERS | OF_DATABASE_SERVERS | OF_MANY_IMAGES == all_commands()


def test_a_library_is_used_without_torch(lite: Run, tmp_path: Path) -> None:
    faces, moved, out = drawn.two_artists(tmp_path / "faces", count=6), tmp_path / "moved", tmp_path / "out"
    out.mkdir()
    for line in WALK:
        words = [word.replace("FACES", str(faces)).replace("MOVED", str(moved)).replace("OUT", str(out)) for word in line]
        if words[0] == "move":
            faces.rename(moved)
        done = lite(*words)
        assert (done.returncode, done.stderr.decode()) == (0, ""), line


def test_a_tagger_of_a_hub_needs_no_torch(lite: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.write_cache(tmp_path / "hf", "Some/tagger", hub.wd_files())
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    images = tmp_path / "images"
    for number, (tag, emotion) in enumerate((("smile", "happy"), ("crying", "crying")) * 10):
        (images / emotion).mkdir(parents=True, exist_ok=True)
        hub.draw_mood(tag, number).save(images / emotion / f"{number}.png")
    for words in (
        ("models", "add", "hf:Some/tagger"),
        ("models", "default", "tagger"),
        ("index", images),
        ("models", "calibrate", "tagger", images),
    ):
        done = lite(*words)
        assert done.returncode == 0, done.stderr.decode()
    found = json.loads(lite("search", "--tag", "smile", "--emotion", "happy", "-f", "json").stdout)
    assert {Path(hit["path"]).parent.name for hit in found} == {"happy"}


def test_the_page_and_its_searches_need_no_torch(lite: Run, home: Path) -> None:
    assert lite("index", EXAMPLES / "bigheads").returncode == 0
    with serving(home) as (_, address):
        hits = json.loads(get(f"{address}api/v1/search?emotion=happy")[1])["hits"]
        alike = json.loads(get(f"{address}api/v1/search?like={hits[0]['image_id']}")[1])["hits"]
        status, reason = get(f"{address}api/v1/images/{hits[0]['image_id']}/explanation")
    assert hits and len(alike) > len(hits)
    assert status == 503 and "PyTorch" in reason, reason


def test_a_taught_model_analyzes_new_images_without_torch(lite: Run, tmp_path: Path) -> None:
    faces = drawn.two_artists(tmp_path / "faces", count=8)
    assert lite("index", faces).returncode == 0
    for emotion, label in (("happy", "happy"), ("sad", "smug")):
        assert lite("label", *sorted(faces.rglob(f"{emotion}/*.png"))[::2], "-e", label, "--new").returncode == 0
    assert json.loads(lite("teach", "--json").stdout)["new"]
    drawn.two_artists(tmp_path / "faces", count=10)
    assert json.loads(lite("index", faces, "--json").stdout)["model"] == "moodex-lite0-taught-1"


@pytest.mark.parametrize("command", NEED_TORCH)
def test_a_command_that_needs_torch_says_what_to_install(lite: Run, tmp_path: Path, command: str) -> None:
    words = [word.replace("FACES", str(drawn.two_artists(tmp_path / "faces", count=2))) for word in NEED_TORCH[command]]
    assert_needs_torch(lite(command, *words), f"moodex {command} needs PyTorch", "pip install 'moodex[train]'")
    assert lite(command, "--help").returncode == 0


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        (("--engine", "torch"), "--engine torch"),
        (("--device", "cuda"), "--device cuda"),
        (("--require-gpu",), "--require-gpu"),
        (("--precision", "bf16"), "--precision bf16"),
    ],
)
def test_an_option_that_needs_torch_says_what_to_install(lite: Run, options: tuple[str, ...], cause: str) -> None:
    assert_needs_torch(lite("index", EXAMPLES / "bigheads", *options), f"{cause} needs PyTorch", "pip install torch torchvision")


def test_a_run_that_needs_torch_changes_nothing(lite: Run, tmp_path: Path) -> None:
    (image,) = write_images(tmp_path / "images", 1)
    assert lite("index", tmp_path / "images").returncode == 0
    assert lite("index", tmp_path / "images", "--precision", "fp16").returncode == 6
    assert lite("hide", image).stdout == b"Hid 1 image.\n"


def test_an_export_for_torch_says_what_to_install(lite: Run, tmp_path: Path) -> None:
    done = lite("models", "export", "moodex-lite0", "--format", "torch", "--output", tmp_path / "model.pt2")
    assert_needs_torch(done, "--format torch needs PyTorch", "pip install torch torchvision")


def test_own_models_work_if_their_network_has_a_graph(lite: Run, tmp_path: Path) -> None:
    for name in ("resnet18", "baseline_cnn"):
        kind = architecture(name)
        network = kind.build(len(EMOTIONS), 64)
        spec = InputSpec(64, kind.mean, kind.std)
        path = checkpoint.save(tmp_path, ModelCard(name, name, "", EMOTIONS, spec, network.embedding_size), network.state_dict())
        added, used = lite("models", "add", path), lite("index", EXAMPLES / "bigheads", "--model", path)
        if name == "resnet18":
            assert (added.returncode, used.returncode) == (0, 0), used.stderr
        else:
            assert_needs_torch(added, "The model 'baseline_cnn'", "pip install torch torchvision")
            assert_needs_torch(used, "The model 'baseline_cnn'", "pip install torch torchvision")


def test_a_model_that_needs_torch_fails_before_the_scan(lite: Run, tmp_path: Path) -> None:
    kind = architecture("baseline_cnn")
    network = kind.build(len(EMOTIONS), 64)
    card = ModelCard("own", "baseline_cnn", "", EMOTIONS, InputSpec(64, kind.mean, kind.std), network.embedding_size)
    path = checkpoint.save(tmp_path, card, network.state_dict())
    assert lite("index", EXAMPLES / "bigheads").returncode == 0
    before = lite("status", "--json").stdout
    write_images(tmp_path / "images", 1)
    for words in (("index", tmp_path / "images"), ("index", EXAMPLES / "bigheads"), ("show", tmp_path / "images/000.png")):
        assert_needs_torch(lite(*words, "--model", path), "The model 'own'", "pip install torch torchvision")
    assert json.loads(lite("status", "--json").stdout)["files"] == json.loads(before)["files"]
    assert len(json.loads(lite("runs", "--json").stdout)) == 1


def test_extras_without_torch_are_named_by_their_packages(lite: Run, tmp_path: Path) -> None:
    """The extra of moodex would install PyTorch as well."""
    blocked = tmp_path / "blocked/sitecustomize.py"
    blocked.write_text(blocked.read_text() + "packages += ('pyarrow',)\n")
    assert lite("index", EXAMPLES / "bigheads").returncode == 0
    done = lite("export", tmp_path / "x.parquet")
    assert (done.returncode, b"pip install pyarrow\n" in done.stderr) == (6, True)


def test_a_machine_with_a_gpu_computes_on_the_cpu(lite: Run, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked/sitecustomize.py"
    blocked.write_text(blocked.read_text() + "import models.inference.loader as loader\nloader.may_have_gpu = lambda: True\n")
    assert json.loads(lite("index", EXAMPLES / "bigheads", "--json").stdout)["engine"] == "onnx"


def assert_needs_torch(done: object, cause: str, command: str) -> None:
    """Check that a command ended with one sentence: what needs PyTorch, and how to install it."""
    error = done.stderr.decode()  # type: ignore[attr-defined]
    assert done.returncode == 6, error  # type: ignore[attr-defined]
    assert error.count("\n") == 1 and cause in error and "needs PyTorch" in error and command in error, error
