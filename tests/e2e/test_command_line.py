"""How the command line behaves: where options may be, what is refused, and what it says about what it did not do."""

from __future__ import annotations

import csv
import io
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import typer
from blake3 import blake3

import cli
from commands.examples import EXAMPLES
from commands.lazy_commands import COMMANDS
from commands.output.probabilities import write_bars
from indexer.domain.queries import Hit
from tests.e2e.conftest import ROOT, Run, environment, run_cli
from tests.support.builders import write_images


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A folder with one image and many files that are no images."""
    folder = tmp_path / "pack"
    write_images(folder, 1)
    for name in ("a.mov", "b.mov", "c.xcf", "d.clip", "e.sai", "f.txt", "g.pdf", "h.zipx", "noextension", ".hidden"):
        (folder / name).write_bytes(b"x")
    return folder


def test_files_that_are_passed_over_are_counted_by_kind(moodex: Run, pack: Path) -> None:
    done = moodex("index", pack)
    assert done.returncode == 0
    assert b"Passed over: 2 .mov, 1 .clip, 1 .pdf, 1 .sai, 1 .txt, 1 .xcf, 2 others." in done.stdout
    again = json.loads(moodex("index", pack, "--json").stdout)
    assert again["skipped"] == {
        ".mov": 2, ".clip": 1, ".pdf": 1, ".sai": 1, ".txt": 1, ".xcf": 1, ".zipx": 1, "without extension": 1, "hidden": 1
    }  # fmt: skip
    assert b"Passed over" not in done.stderr
    listed = moodex("index", pack, "-v").stderr.decode()
    assert all(f"{name}' (" in listed for name in ("a.mov", "c.xcf", "noextension", ".hidden"))


def test_a_folder_of_links_tells_how_links_are_followed(moodex: Run, tmp_path: Path) -> None:
    (image,) = write_images(tmp_path / "images", 1)
    (tmp_path / "links").mkdir()
    for number in range(3):
        (tmp_path / f"links/{number}.png").symlink_to(image)
    said = moodex("index", tmp_path / "links").stdout.decode()
    assert "No image files were found." in said
    assert "Passed over: 3 links." in said
    assert "--follow-symlinks" in said


def test_a_folder_that_cannot_be_scanned_is_not_called_empty(moodex: Run, tmp_path: Path) -> None:
    write_images(tmp_path / "images", 1)
    (tmp_path / "images/.moodexignore").write_text("!\n")
    done = moodex("index", tmp_path / "images")
    assert done.returncode == 3
    assert done.stdout.startswith(b"Not scanned: ") and b"its .moodexignore cannot be used" in done.stdout


@pytest.mark.parametrize("command", ["search", "export"])
def test_a_folder_without_indexed_files_is_an_error(moodex: Run, tmp_path: Path, command: str) -> None:
    write_images(tmp_path / "a", 2)
    write_images(tmp_path / "b", 1)
    moodex("index", tmp_path / "a")
    words = ["search"] if command == "search" else ["export", tmp_path / "out.csv"]
    for folder, advice in ((tmp_path / "typo", b"does not exist"), (tmp_path / "b", b"run moodex index")):
        done = moodex(*words, "--under", tmp_path / "a", "--under", folder)
        assert done.returncode == 2
        assert folder.name.encode() in done.stderr
        assert advice in done.stderr
    assert not (tmp_path / "out.csv").exists()


def test_several_folders_can_be_searched(moodex: Run, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_images(tmp_path / name, 1, first_seed=ord(name))
    moodex("index", tmp_path)
    found = moodex("search", "--under", tmp_path / "a", "--under", tmp_path / "c", "-f", "paths").stdout.decode().split()
    assert sorted(Path(path).parent.name for path in found) == ["a", "c"]
    (image,) = (tmp_path / "b").iterdir()
    assert moodex("search", "--under", image, "-f", "paths").stdout.decode().split() == [str(image)]
    moodex("export", tmp_path / "out.csv", "--under", tmp_path / "b", "--under", tmp_path / "c")
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    "words",
    [
        ["search", "-e", "sad", "-k", "1", "-k", "2"],
        ["search", "--min-score", "0.1", "--min-score=0.2"],
        ["search", "--like", "a", "--like", "b"],
        ["status", "--failures", "1", "--failures", "1"],
        ["index", ".", "--prune", "--no-prune"],
        ["schedule", "add", "x", ".", "--every", "1h", "--every", "2h"],
        ["--home", "a", "--home", "b", "status"],
        ["status", "--home", "a", "--home", "b"],
    ],
)
def test_an_option_with_one_value_cannot_be_given_twice(moodex: Run, words: list[str]) -> None:
    done = moodex(*words)
    assert done.returncode == 2
    assert b"is given more than once; give it once" in done.stderr


def test_the_options_of_the_program_may_follow_the_command(moodex: Run, tmp_path: Path) -> None:
    (image,) = write_images(tmp_path / "images", 1)
    (tmp_path / "images/x.xcf").write_bytes(b"x")
    for words in (["-v", "index", image.parent], ["index", "-v", image.parent], ["index", image.parent, "--verbose"]):
        assert b"x.xcf" in moodex(*words).stderr
    for words in (["-q", "runs"], ["runs", "-q"], ["runs", "--quiet"], ["schedule", "-q", "list"], ["schedule", "list", "-q"]):
        assert moodex(*words).returncode == 0
    assert moodex("-q", "runs", "-v").returncode == 2
    assert moodex("runs", "-q", "-v").returncode == 2
    error = moodex("show", tmp_path / "none.png", "--log-format", "json")
    assert json.loads(error.stderr)["level"] == "error"
    assert moodex("runs", "--log-format", "xml").returncode == 2
    for words in (["schedule", "--home", tmp_path / "other", "list"], ["schedule", "list", "--home", tmp_path / "other"]):
        assert b"No jobs" in moodex(*words).stdout


@pytest.mark.parametrize("words", [[], ["search"], ["schedule"], ["schedule", "add"], ["models", "list"], ["train"]])
def test_h_shows_the_help(moodex: Run, words: list[str]) -> None:
    done = moodex(*words, "-h")
    assert (done.returncode, done.stdout) == (0, moodex(*words, "--help").stdout)
    assert b"Usage" in done.stdout


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """An indexed library of three folders with a file 001.png each, and two further images."""
    base = tmp_path_factory.mktemp("library")
    folder = base / "images"
    for number, name in enumerate(("ch1", "ch2", "ch3")):
        write_images(folder / name, 1, first_seed=number)
        next((folder / name).iterdir()).rename(folder / name / "001.png")
    write_images(folder, 2, first_seed=10)
    assert run_cli(base / "home", "index", folder).returncode == 0
    return (lambda *words: run_cli(base / "home", *words)), folder


def hits(moodex: Run, *words: str | Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(moodex("search", *words, "--json").stdout)["hits"]
    return found


def test_a_word_that_is_an_emotion_is_searched_for(library: tuple[Run, Path]) -> None:
    moodex, folder = library
    emotion = hits(moodex, "--under", folder)[0]["emotion"]
    done = moodex("search", emotion)
    assert done.returncode == 0 and f"--emotion {emotion}" in done.stderr.decode()
    assert done.stdout == moodex("search", "--emotion", emotion).stdout
    synonym = moodex("search", "Joy")
    assert synonym.returncode == 0 and b"--emotion happy" in synonym.stderr
    assert moodex("-q", "search", "happy").stderr == b""


@pytest.mark.parametrize(
    ("word", "advice"),
    [("hapy", b"Did you mean 'happy'"), ("zebra.png", b"moodex search --emotion happy"), (".", b"--under '.'")],
)
def test_any_other_word_says_what_to_do(library: tuple[Run, Path], word: str, advice: bytes) -> None:
    done = library[0]("search", word)
    assert done.returncode == 2
    assert advice in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_a_file_with_the_name_of_an_emotion_is_an_image(
    library: tuple[Run, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moodex, folder = library
    (tmp_path / "happy").write_bytes((folder / "ch1/001.png").read_bytes())
    monkeypatch.chdir(tmp_path)
    first = hits(moodex, "happy")[0]
    assert first["path"] == str(folder / "ch1/001.png") and first["similarity"] == pytest.approx(1.0, abs=1e-3)


def test_ids_are_accepted_in_place_of_paths(library: tuple[Run, Path], tmp_path: Path) -> None:
    moodex, folder = library
    path = folder / "ch2/001.png"
    shown = moodex("show", path)
    number = shown.stdout.decode().split("(")[1][:8]
    assert moodex("show", number).stdout == shown.stdout
    moodex("hide", number)
    assert moodex("show", number).stdout == shown.stdout and str(path) not in str(hits(moodex, "--emotion", "happy"))
    moodex("hide", number, "--remove")
    assert hits(moodex, number)[0]["path"] == str(path)
    assert hits(moodex, "--like", number) == hits(moodex, number)
    assert moodex("label", number, "-e", "sad").stdout == b"Changed the labels of 1 image.\n"
    assert hits(moodex, "--emotion", "sad")[0]["path"] == str(path)
    assert moodex("label", number[:6], "--remove").returncode == 0
    assert moodex("label", "00000000", "-e", "sad").returncode == 2
    assert moodex("show", "00000000").returncode == 2
    explained = moodex("explain", number, "--output", tmp_path / "x.png", "--method", "occlusion")
    assert explained.returncode == 0, explained.stderr


@pytest.mark.parametrize("option", ["--copy-to", "--link-to"])
def test_results_are_collected_with_names_kept_apart(library: tuple[Run, Path], tmp_path: Path, option: str) -> None:
    moodex, folder = library
    target = tmp_path / "out"
    done = moodex("search", "--under", folder, option, target)
    assert done.returncode == 0
    assert f"{'Linked' if option == '--link-to' else 'Copied'} 5 files to" in done.stdout.decode()
    assert sorted(path.name for path in target.iterdir()) == ["001-ch1.png", "001-ch2.png", "001-ch3.png", "010.png", "011.png"]
    assert (target / "001-ch2.png").read_bytes() == (folder / "ch2/001.png").read_bytes()
    assert all(path.is_symlink() == (option == "--link-to") for path in target.iterdir())
    assert b"Copied" not in done.stderr
    again = moodex("search", "--under", folder, option, target).stdout.decode()
    assert "0 files" in again and "5 already there" in again
    assert len(list(target.iterdir())) == 5


def test_collecting_replaces_nothing(library: tuple[Run, Path], tmp_path: Path) -> None:
    moodex, folder = library
    (tmp_path / "010.png").write_bytes(b"mine")
    (tmp_path / "011.png").symlink_to("nowhere")
    assert moodex("search", "--under", folder, "--copy-to", tmp_path).returncode == 0
    assert (tmp_path / "010.png").read_bytes() == b"mine"
    assert (tmp_path / "011.png").is_symlink()
    assert (tmp_path / "010-images.png").read_bytes() == (folder / "010.png").read_bytes()
    (tmp_path / "file").write_bytes(b"x")
    for words in (["--copy-to", tmp_path / "file"], ["--copy-to", tmp_path, "--link-to", tmp_path]):
        assert moodex("search", "--under", folder, *words).returncode == 2


def test_a_missing_file_is_reported_by_a_collection(moodex: Run, tmp_path: Path) -> None:
    first, second = write_images(tmp_path / "images", 2)
    moodex("index", tmp_path / "images")
    first.unlink()
    done = moodex("search", "--under", tmp_path / "images", "--copy-to", tmp_path / "out", "-f", "paths")
    assert done.returncode == 3
    assert first.name.encode() in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == [second.name]
    assert len(done.stdout.splitlines()) == 2


def test_tables_and_json_tell_the_total(library: tuple[Run, Path]) -> None:
    moodex, folder = library
    search = ("search", "--under", folder)
    assert b"2 of 5 images." in moodex(*search, "-k", "2").stdout
    assert b"3-4 of 5 images." in moodex(*search, "-k", "2", "--offset", "2").stdout
    assert b" of " not in moodex(*search).stdout
    past = moodex(*search, "--offset", "5")
    assert past.returncode == 0
    assert past.stdout == b"No further images match: --offset is 5, and 5 images match.\n"
    for form in ("paths", "csv", "jsonl"):
        assert b"No further images match: --offset is 5." in moodex(*search, "--offset", "5", "-f", form).stderr
        assert moodex(*search, "--offset", "4", "-f", form).stderr == b""
    assert b"and 1 image matches." in moodex("search", "--under", folder / "010.png", "--offset", "3").stdout
    assert b"No images match." in moodex("search", "--emotion", "fear", "--min-score", "1", "--offset", "5").stdout
    facts = json.loads(moodex(*search, "-k", "2", "--offset", "4", "--json").stdout)
    assert (facts["total"], facts["offset"], len(facts["hits"])) == (5, 4, 1)
    distinct = json.loads(moodex(*search, "--dedupe", "--json").stdout)
    assert distinct["total"] is None and len(distinct["hits"]) + sum(hit.get("copies", 0) for hit in distinct["hits"]) == 5
    assert b" of " not in moodex(*search, "--dedupe", "-k", "2").stdout
    assert moodex(*search, "--dedupe", "--offset", "9").stdout == b"No further images match: --offset is 9.\n"
    similar = json.loads(moodex("search", folder / "010.png", "-k", "2", "--json").stdout)
    assert (similar["total"], len(similar["hits"])) == (5, 2)
    assert moodex(*search, "--json", "-f", "csv").returncode == 2


def test_json_is_not_cut(moodex: Run, tmp_path: Path) -> None:
    write_images(tmp_path, 1)
    for number in range(9):
        (tmp_path / f"bad{number}.png").write_bytes(b"x%d" % number)
    moodex("index", tmp_path)
    for _ in range(22):
        moodex("index", tmp_path)
    status = json.loads(moodex("status", "--json").stdout)
    assert len(status["failures"]) == status["files"]["failed"] == 9
    assert len(json.loads(moodex("status", "--json", "--failures", "2").stdout)["failures"]) == 2
    text = moodex("status").stdout.decode()
    assert "and 4 more; list all: moodex status --failures 9" in text
    runs = json.loads(moodex("runs", "--json").stdout)
    assert len(moodex("runs").stdout.splitlines()) == min(20, len(runs)) + 1
    assert len(json.loads(moodex("runs", "--json", "--limit", "1").stdout)) == 1


def test_runs_of_many_roots_are_short(moodex: Run, tmp_path: Path) -> None:
    images = write_images(tmp_path, 12)
    moodex("index", *images)
    (line,) = moodex("runs").stdout.decode().splitlines()[1:]
    assert "and 10 more" in line
    assert len(json.loads(moodex("runs", "--json").stdout)[0]["roots"]) == 12


def test_bars_are_ascii_where_the_output_has_no_other_letters(library: tuple[Run, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    hit = Hit(b"/a.png", "00" * 32, "happy", 0.5, {"happy": 0.5, "sad": 0.25})
    write_bars([hit], out)
    assert "█" in out.getvalue()
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    write_bars([hit], narrow)
    narrow.seek(0)
    text = narrow.read()
    assert "happy  50.0%  " + "#" * 20 in text
    assert text.isascii()


def test_the_name_of_a_shipped_model_is_refused(moodex: Run, tmp_path: Path) -> None:
    done = moodex("train", tmp_path, "--name", "moodex-lite0")
    assert done.returncode == 2
    assert b"belongs to a model that came with moodex" in done.stderr


def test_a_repair_without_damage_says_so(library: tuple[Run, Path]) -> None:
    assert b"Nothing was repaired" in library[0]("doctor", "--repair").stdout
    assert b"Nothing was repaired" not in library[0]("doctor").stdout


@pytest.fixture
def listed(library: tuple[Run, Path], tmp_path: Path) -> tuple[Run, list[Path], Path, Path]:
    """The library with three of its images, which two lists name, one by line and one with NUL."""
    moodex, folder = library
    images = [folder / "ch1/001.png", folder / "ch3/001.png", folder / "010.png"]
    lines, zeros = tmp_path / "lines.txt", tmp_path / "zeros.txt"
    lines.write_text("".join(f"{path}\r\n" for path in images) + "\n")
    zeros.write_bytes(b"".join(bytes(path) + b"\0" for path in images))
    return moodex, images, lines, zeros


def test_lists_of_paths_are_read_from_files(listed: tuple[Run, list[Path], Path, Path], tmp_path: Path) -> None:
    moodex, images, lines, zeros = listed
    for words in (["--files-from", lines], ["--files-from", zeros, "-0"]):
        shown = json.loads(moodex("show", *words, "--json").stdout)
        assert [image["path"] for image in shown] == list(map(str, images))
        assert moodex("label", *words, "-e", "sad").stdout == b"Changed the labels of 3 images.\n"
        assert moodex("label", *words, "--remove").returncode == 0
        assert json.loads(moodex("index", *words, "--json").stdout)["unchanged"] == 3
        assert moodex("export", tmp_path / "out.csv", "--force", *words).returncode == 0
        with (tmp_path / "out.csv").open(newline="") as file:
            assert {row["path"] for row in csv.DictReader(file)} == set(map(str, images))
    assert moodex("export", tmp_path / "out.csv", "--force", *images[:2]).stdout.startswith(b"Exported 2 rows")
    assert moodex("forget", "--files-from", zeros, "-0").stdout.startswith(b"Forgot 3 files.")
    assert moodex("index", *images).returncode == 0
    assert moodex("show", *images[:2]).stdout == b"".join(moodex("show", path).stdout for path in images[:2])
    assert isinstance(json.loads(moodex("show", images[0], "--json").stdout), dict)


def test_a_list_is_read_from_standard_input(library: tuple[Run, Path], tmp_path: Path, examples_home: Path) -> None:
    folder = ROOT / "examples/images/noto"
    paths = sorted(folder.iterdir())[:2]
    command = [sys.executable, ROOT / "cli.py", "show", "-", "-0", "--json"]
    data = b"".join(bytes(path) + b"\0" for path in paths)
    done = subprocess.run(command, input=data, capture_output=True, env=environment(examples_home), check=True)
    assert [image["path"] for image in json.loads(done.stdout)] == list(map(str, paths))


@pytest.mark.parametrize("command", ["index", "show", "export", "label", "forget"])
def test_a_list_that_cannot_be_used_is_refused(listed: tuple[Run, list[Path], Path, Path], tmp_path: Path, command: str) -> None:
    moodex, _, _, zeros = listed
    words = {"index": ["index"], "show": ["show"], "export": ["export", tmp_path / "x.csv"], "label": ["label", "-e", "sad"]}.get(
        command, [command]
    )
    (tmp_path / "empty.txt").write_bytes(b"\n\n")
    for wrong in (["--files-from", zeros], ["--files-from", tmp_path / "none"], ["-0"]):
        done = moodex(*words, *wrong)
        assert done.returncode == 2, wrong
        assert done.stderr.count(b"\n") == 1
    if command != "show":
        assert moodex(*words, "--files-from", tmp_path / "empty.txt").returncode == 2


def test_an_export_can_name_any_number_of_files(listed: tuple[Run, list[Path], Path, Path], tmp_path: Path) -> None:
    moodex, images, _, _ = listed
    names = tmp_path / "many.txt"
    names.write_text("".join(f"{images[0]}\n" for _ in range(50_000)))
    assert moodex("export", tmp_path / "x.csv", "--files-from", names).returncode == 0
    assert len((tmp_path / "x.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - {"cluster", "schedule", "models"}))
def test_the_help_of_a_command_has_examples_that_parse(moodex: Run, command: str) -> None:
    text = moodex(command, "--help").stdout.decode()
    assert "Examples:" in text
    group = typer.main.get_command(cli.app)
    for example in EXAMPLES[command]:
        assert " ".join(example.split()) in " ".join(text.split())
        words = shlex.split(
            example.split("|")[-1].split(">")[0] if "| moodex" in example else example.split("|")[0].split(">")[0]
        )
        assert words[:2] == ["moodex", command]
        built = group.get_command(None, command)
        built.make_parser(built.context_class(built, info_name=command)).parse_args(words[2:])


def test_hidden_images_stay_out_of_searches_and_exports(moodex: Run, tmp_path: Path) -> None:
    first, second, third = write_images(tmp_path / "images", 3)
    moodex("index", tmp_path / "images")
    moodex("label", first, "-e", "sad")
    number = hits(moodex, "--like", first)[0]["image_id"][:8]
    assert moodex("hide", number, second).stdout == b"Hid 2 images.\n"
    assert moodex("hide", first).stdout == b"Hid 0 images; 1 unchanged.\n"
    search = ("--under", tmp_path / "images")
    assert [hit["path"] for hit in hits(moodex, *search)] == [str(third)]
    assert {hit["path"] for hit in hits(moodex, *search, "--hidden")} == {str(first), str(second), str(third)}
    assert [hit["path"] for hit in hits(moodex, third)] == [str(third)]
    assert b"3, 2 of them hidden" in moodex("status").stdout
    assert b"Your label: sad" in moodex("show", first).stdout
    moodex("export", tmp_path / "some.csv")
    moodex("export", tmp_path / "all.csv", "--hidden")
    assert [len((tmp_path / name).read_text().splitlines()) for name in ("some.csv", "all.csv")] == [2, 4]
    moodex("backup", tmp_path / "library.moodex")
    assert moodex("index", tmp_path / "images", "--force").returncode == 0
    assert len(hits(moodex, *search)) == 1
    assert moodex("hide", tmp_path / "images", "--remove").stdout == b"No longer hides 2 images; 1 unchanged.\n"
    assert len(hits(moodex, *search)) == 3
    assert moodex("hide", tmp_path / "none.png").returncode == 2
    assert moodex("hide").returncode == 2
    assert moodex("doctor").returncode == 0


XML = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
}


def keywords(path: Path, name: str) -> list[str | None]:
    return [item.text for item in ElementTree.parse(path).findall(f".//{name}/rdf:Bag/rdf:li", XML)]


def test_show_continues_after_a_path_that_is_no_image(moodex: Run, tmp_path: Path) -> None:
    first, second = write_images(tmp_path / "images", 2)
    moodex("index", first)
    (tmp_path / "text.png").write_text("not an image")
    done = moodex("show", first, tmp_path / "none.png", tmp_path / "text.png", second)
    assert done.returncode == 3
    assert [line for line in done.stdout.decode().splitlines() if line.startswith("/")] == [
        f"{path}  ({blake3(path.read_bytes()).hexdigest()[:8]})" for path in (first, second)
    ]
    errors = done.stderr.decode().splitlines()
    assert len(errors) == 2 and "none.png': No such file" in errors[0] and "text.png'" in errors[1]
    (tmp_path / "list").write_text(f"{tmp_path}/none.png\n")
    listed = moodex("show", "--files-from", tmp_path / "list", "--json")
    assert (listed.returncode, listed.stdout) == (3, b"[]\n")
    alone = moodex("show", tmp_path / "none.png")
    assert (alone.returncode, alone.stderr.count(b"\n")) == (2, 1)
    assert b"is a folder; give the images in it" in moodex("show", tmp_path).stderr


def test_a_label_without_a_file_is_listed_at_its_last_path(moodex: Run, tmp_path: Path) -> None:
    first, second = write_images(tmp_path / "images", 2)
    moodex("index", tmp_path / "images")
    moodex("label", first, second, "-e", "sad")
    first.unlink()
    moodex("index", tmp_path / "images", "--prune", "--yes")
    orphans = moodex("label", "--orphans").stdout.decode().splitlines()
    listed = moodex("label", "--list").stdout.decode().splitlines()
    assert len(orphans) == 2 and orphans[1] in listed and orphans[1].startswith(f"{first},sad,")
    assert sorted(image["path"] for image in json.loads(moodex("label", "--list", "--json").stdout)) == [str(first), str(second)]


def test_sidecars_hold_the_emotions_and_leave_images_alone(moodex: Run, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    first, second, third = write_images(folder, 3)
    moodex("index", folder)
    moodex("label", first, "-e", "a <b> & c", "--new")
    moodex("label", second, "-e", "sad")
    moodex("label", third, "-e", "none")
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (first, second, third)}
    dry = moodex("sidecars", "--xmp", "--captions", "--dry-run").stdout.decode()
    assert dry.splitlines()[-1] == "Would write 4 sidecars."
    assert sorted(map(Path, dry.splitlines()[:-1])) == sorted(
        [folder / "000.png.xmp", folder / "000.txt", folder / "001.png.xmp", folder / "001.txt"]
    )
    assert len(list(folder.iterdir())) == 3
    assert moodex("sidecars", "--xmp", "--captions").stdout == b"Wrote 4 sidecars.\n"
    assert keywords(folder / "000.png.xmp", "dc:subject") == ["a <b> & c"]
    assert keywords(folder / "001.png.xmp", "lr:hierarchicalSubject") == ["emotion|sad"]
    assert (folder / "001.txt").read_text() == "sad\n"
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before} == before
    assert moodex("sidecars", "--xmp", "--captions").stdout == b"Wrote 0 sidecars; 4 unchanged.\n"
    assert moodex("index", folder).returncode == 0


def test_sidecars_of_others_are_kept(moodex: Run, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    first, second = write_images(folder, 2)
    moodex("index", folder)
    moodex("label", first, second, "-e", "sad")
    (folder / "000.png.xmp").write_text("<x/>")
    (folder / "000.txt").write_text("a girl, smiling")
    facts = json.loads(moodex("sidecars", "--xmp", "--captions", "--json").stdout)
    assert (facts["written"], facts["kept"]) == (2, 2)
    assert (folder / "000.png.xmp").read_text() == "<x/>"
    assert (folder / "000.txt").read_text() == "a girl, smiling"
    moodex("label", first, second, "-e", "angry")
    facts = json.loads(moodex("sidecars", "--xmp", "--captions", "--force", "--json").stdout)
    assert (facts["written"], facts["kept"]) == (3, 1)
    assert (folder / "000.png.xmp").read_text() == "<x/>"
    assert (folder / "000.txt").read_text() == "angry\n"
    assert keywords(folder / "001.png.xmp", "dc:subject") == ["angry"]
    assert moodex("sidecars").returncode == 2
    assert moodex("sidecars", "--xmp", "--under", tmp_path / "none").returncode == 2


def test_sidecars_of_moodex_follow_the_emotion(moodex: Run, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    first, second = write_images(folder, 2)
    moodex("index", folder)
    moodex("label", first, second, "-e", "sad")
    assert moodex("sidecars", "--xmp", "--captions").stdout == b"Wrote 4 sidecars.\n"
    (folder / "001.txt").write_text("sad, by hand\n")
    moodex("label", first, second, "-e", "angry")
    assert moodex("sidecars", "--xmp", "--captions").stdout == b"Wrote 3 sidecars; 1 kept, which hold something else.\n"
    assert (folder / "000.txt").read_text() == "angry\n" and (folder / "001.txt").read_text() == "sad, by hand\n"
    moodex("label", first, second, "-e", "none")
    dry = moodex("sidecars", "--xmp", "--captions", "--dry-run").stdout.decode().splitlines()
    assert dry[-1] == "Would write 0 sidecars; 3 to remove, whose images have no emotion any more."
    assert sorted(map(Path, dry[:-1])) == [folder / "000.png.xmp", folder / "000.txt", folder / "001.png.xmp"]
    assert len(list(folder.iterdir())) == 6
    facts = json.loads(moodex("sidecars", "--xmp", "--captions", "--json").stdout)
    assert (facts["written"], facts["removed"]) == (0, 3)
    assert sorted(folder.iterdir()) == [first, second, folder / "001.txt"]


def test_a_caption_by_hand_stays_even_with_words_of_moodex(moodex: Run, tmp_path: Path) -> None:
    (image,) = write_images(tmp_path / "images", 1)
    moodex("index", image)
    moodex("label", image, "-e", "sad")
    caption = image.with_suffix(".txt")
    caption.write_text("happy\n")
    assert json.loads(moodex("sidecars", "--captions", "--json").stdout)["kept"] == 1
    moodex("label", image, "-e", "none")
    assert json.loads(moodex("sidecars", "--captions", "--json").stdout)["removed"] == 0
    assert caption.read_text() == "happy\n"


def test_sidecars_of_some_emotions_update_what_moodex_wrote_before(moodex: Run, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    first, second, third = write_images(folder, 3)
    moodex("index", folder)
    moodex("label", first, second, third, "-e", "sad")
    moodex("sidecars", "--captions", "--under", first)
    moodex("label", first, "-e", "angry")
    moodex("label", second, "-e", "happy")
    facts = json.loads(moodex("sidecars", "--captions", "-e", "happy", "--json").stdout)
    assert (facts["written"], facts["kept"], facts["unchanged"]) == (2, 0, 0)
    assert (folder / "000.txt").read_text() == "angry\n" and (folder / "001.txt").read_text() == "happy\n"
    assert not (folder / "002.txt").exists()


def test_a_caption_that_two_images_share_stays_while_one_of_them_has_it(moodex: Run, tmp_path: Path) -> None:
    (first,) = write_images(tmp_path / "images", 1)
    (other,) = write_images(tmp_path / "other", 1, first_seed=5)
    other.rename(tmp_path / "images/000.gif")
    moodex("index", tmp_path / "images")
    for one, another in ((first, tmp_path / "images/000.gif"), (tmp_path / "images/000.gif", first)):
        moodex("label", one, "-e", "none")
        moodex("label", another, "-e", "sad")
        for _ in range(2):
            assert json.loads(moodex("sidecars", "--captions", "--json").stdout)["removed"] == 0
            assert (tmp_path / "images/000.txt").read_text() == "sad\n"


def test_two_images_that_share_a_caption_do_not_replace_it(moodex: Run, tmp_path: Path) -> None:
    (first,) = write_images(tmp_path / "images", 1)
    (other,) = write_images(tmp_path / "other", 1, first_seed=5)
    other.rename(tmp_path / "images/000.gif")
    moodex("index", tmp_path / "images")
    moodex("label", first, "-e", "sad")
    moodex("label", tmp_path / "images/000.gif", "-e", "angry")
    facts = json.loads(moodex("sidecars", "--captions", "--force", "--json").stdout)
    assert (facts["written"], facts["kept"]) == (1, 1)


def test_a_current_folder_that_was_removed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    assert cli.run(["index", "."]) == 2
    assert "The current folder does not exist any more." in capfd.readouterr().err
