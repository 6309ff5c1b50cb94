"""The page about growth: its tables, and its examples for KubeRay and Slurm."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import typer
import yaml

from cli import app
from docs import make_scale
from indexer.domain import growth
from indexer.domain.growth import COMMITS_PER_SECOND, MILLION, forecast
from tests.support.kuberay_schema import RAY_JOB

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/scale.md").read_text(encoding="utf-8")
SBATCH_OPTIONS = {
    "job-name", "nodes", "ntasks", "ntasks-per-node", "cpus-per-task", "gpus-per-task", "gpus-per-node", "mem", "mem-per-cpu",
    "time", "partition", "account", "output", "error", "exclusive", "requeue", "constraint",
}  # fmt: skip
"""Options of sbatch 24.05 that an example may use."""


def block(language: str, start: str) -> str:
    """Return the code block that begins with some text."""
    return next(text for text in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) if text.startswith(start))


def results(name: str) -> Any:
    return json.loads((ROOT / f"bench/results/{name}.json").read_text())


def test_the_tables_are_current() -> None:
    assert make_scale.page(PAGE) == PAGE, "run: python docs/make_scale.py"


def test_the_model_has_the_measured_numbers() -> None:
    measured = results("growth")
    searching, indexing = measured["searching"]["sizes"], measured["indexing"]["sizes"]

    def exponent(sizes: dict[str, dict[str, float]], name: str) -> float:
        counts = np.log([float(size) for size in sizes])
        return float(np.polyfit(counts, np.log([values[name] for values in sizes.values()]), 1)[0])

    assert pytest.approx(searching["1000000"]["database_mb"], rel=0.001) == growth.DATABASE_BYTES
    assert pytest.approx(searching["1000000"]["build"], rel=0.01) == growth.BUILD_SECONDS
    assert pytest.approx(exponent(searching, "build"), abs=0.01) == growth.BUILD_EXPONENT
    assert pytest.approx(exponent(searching, "unlike"), abs=0.01) == growth.SEARCH_EXPONENT
    assert pytest.approx(MILLION / indexing["1000000"]["index"], rel=0.01) == growth.COMMITS_PER_SECOND
    assert pytest.approx(indexing["1000000"]["index_mb"], rel=0.01) == growth.RUN_MB
    assert pytest.approx(exponent(indexing, "index_mb"), abs=0.01) == growth.RUN_EXPONENT
    search = results("search-1000000")
    assert pytest.approx(search["index_mb"], rel=0.001) == growth.VECTOR_BYTES
    assert pytest.approx(search["filters"]["all"]["p99"], rel=0.01) == growth.SEARCH_P99_MS
    assert pytest.approx(results("index")["models"]["moodex-lite0"]["moodex"]["peak_mb"], rel=0.001) == growth.WORKER_MB


def test_more_machines_take_less_time_for_the_same_money_until_commits_are_the_wall() -> None:
    one, four = forecast(MILLION, 1, 100, price=2.0), forecast(MILLION, 4, 100, price=2.0)
    assert one.hours == pytest.approx(MILLION / 100 / 3600)
    assert four.hours == pytest.approx(one.hours / 4)
    assert one.cost == one.cost_per_million == pytest.approx(2.0 * one.hours) == four.cost
    many = forecast(MILLION, 1000, 100, price=2.0)
    assert many.commits_bound and not four.commits_bound
    assert many.images_per_second == COMMITS_PER_SECOND
    assert many.cost is not None and many.cost > 10 * (four.cost or 0)


def test_a_library_grows_with_its_images() -> None:
    small, large = forecast(10 * MILLION, 1, 50), forecast(100 * MILLION, 1, 50)
    assert large.rows == 10 * small.rows == 400 * MILLION
    assert large.database_gb == pytest.approx(10 * small.database_gb)
    assert large.build_hours > 10 * small.build_hours
    assert small.cost is None


def commands_in(text: str) -> list[list[str]]:
    """Return the words of each command line of moodex."""
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [shlex.split(line[line.index("moodex ") :]) for line in lines if re.search(r"(^|: |\s)moodex (index|cluster)", line)]


def test_the_commands_of_the_page_have_the_options_that_they_use() -> None:
    blocks = re.findall(r"```(?:sh|yaml)\n(.*?)```", PAGE, re.DOTALL)
    lines = [words for text in blocks for words in commands_in(text)]
    assert len(lines) >= 4
    for words in lines:
        command: Any = typer.main.get_command(app)
        rest = words[1:]
        while hasattr(command, "get_command"):
            command = command.get_command(None, rest.pop(0))
            assert command is not None, words
        command.make_context("moodex", list(rest), resilient_parsing=False)


def test_the_job_for_kuberay_matches_its_schema() -> None:
    job = yaml.safe_load(block("yaml", "apiVersion"))
    jsonschema.validate(job, RAY_JOB)
    (group,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    misspelled = deepcopy(job)
    misspelled["spec"]["rayClusterSpec"]["workerGroups"] = misspelled["spec"]["rayClusterSpec"].pop("workerGroupSpecs")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(misspelled, RAY_JOB)


def test_the_job_for_slurm_is_a_script_with_known_options() -> None:
    script = block("sh", "#!/bin/bash")
    options = re.findall(r"^#SBATCH --([\w-]+)", script, re.MULTILINE)
    assert options and set(options) <= SBATCH_OPTIONS
    assert len(options) == len(re.findall(r"^#SBATCH", script, re.MULTILINE))
    checked = subprocess.run(["/bin/bash", "-n"], input=script.encode(), capture_output=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, b"")
