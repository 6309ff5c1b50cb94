"""`moodex serve` as a process: its address, its end on a signal, and what it says when it cannot start."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, Run, environment

pytestmark = pytest.mark.process


@contextmanager
def serving(home: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start a server; yield its process and its address. End it if the test did not."""
    command = [sys.executable, ROOT / "cli.py", "serve", "--port", "0", *words]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment(home))
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def get(address: str, **headers: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_answers_until_a_signal_ends_it(home: Path, number: signal.Signals) -> None:
    with serving(home) as (process, address):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)
        assert get(f"{address}healthz")[0] == 200
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 128 + number
        assert errors.strip().endswith(f"Stopped by {number.name}; the server has ended.")


def test_a_server_for_others_prints_a_link_with_its_token(home: Path) -> None:
    with serving(home, "--host", "0.0.0.0") as (_, address):
        token = (home / "web-token").read_text()
        assert address.endswith(f"/?token={token}")
        port = address.split(":")[2].split("/")[0]
        assert get(f"http://127.0.0.1:{port}/api/v1/images")[0] == 401
        assert get(f"http://127.0.0.1:{port}/healthz", authorization=f"Bearer {token}")[0] == 200


def test_a_port_in_use_is_named(home: Path, moodex: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = moodex("serve", "--port", port)
    assert done.returncode == 1
    assert f"port {port}" in done.stderr.decode()
    assert "--port" in done.stderr.decode()


def test_without_the_extra_one_sentence_says_what_to_install(home: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Refusing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'fastapi': raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Refusing())\n"
        "import importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda name, package=None: None if name == 'fastapi' else real(name, package)\n"
    )
    environ = environment(home) | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run([sys.executable, ROOT / "cli.py", "serve"], capture_output=True, env=environ, timeout=60, check=False)
    assert done.returncode == 6
    assert done.stderr.decode().strip().endswith("The web page needs the package fastapi: pip install 'moodex[web]'")
