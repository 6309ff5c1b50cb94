"""Stand-ins for models of a hub: tiny networks of the true architecture, in exactly the published layouts, in a cache or served.

A cache has the form in which huggingface_hub writes it: blobs named by their digests, a snapshot of links for each commit, and
references from branches to commits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from PIL import Image

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SIZE = 64
TAGS = (
    ("general", 9),
    ("explicit", 9),
    ("1girl", 0),
    ("solo", 0),
    ("smile", 0),
    ("crying", 0),
    ("angry", 0),
    ("surprised", 0),
    ("comic", 0),
    ("hatsune_miku", 4),
)
README = "---\nlicense: apache-2.0\nlibrary_name: timm\n---\n# A stand-in\n"


def selected_tags() -> str:
    """Return `selected_tags.csv` of a WD tagger."""
    rows = [f"{9999990 + number},{name},{category},{1000 - number}" for number, (name, category) in enumerate(TAGS)]
    return "\n".join(["tag_id,name,category,count", *rows]) + "\n"


def timm_config(**changes: object) -> dict[str, object]:
    """Return `config.json` of a WD tagger, for a small ViT-Tiny."""
    normalization = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    return {
        "architecture": "vit_tiny_patch16_224",
        "num_classes": len(TAGS),
        "num_features": 192,
        "global_pool": "avg",
        "model_args": {
            "img_size": SIZE,
            "class_token": False,
            "global_pool": "avg",
            "fc_norm": False,
            "act_layer": "gelu_tanh",
            "depth": 2,
        },
        "pretrained_cfg": {
            "custom_load": False,
            "input_size": [3, SIZE, SIZE],
            "fixed_input_size": False,
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "crop_mode": "center",
            **normalization,
            "num_classes": len(TAGS),
            "pool_size": None,
            "first_conv": None,
            "classifier": None,
        },
        **changes,
    }


def timm_body() -> object:
    """Return the network of `timm_config` with random weights, with which tags differ clearly between images."""
    import timm
    import torch

    config = timm_config()
    torch.manual_seed(0)
    body = timm.create_model(config["architecture"], num_classes=len(TAGS), **config["model_args"])  # type: ignore[arg-type]
    body.head.weight.data.normal_(0, 0.5)
    return body.eval()


def timm_files() -> dict[str, bytes]:
    """Return the files of a WD tagger without its ONNX form."""
    from safetensors.torch import save

    weights = save(timm_body().state_dict())  # type: ignore[attr-defined]
    return {
        "README.md": README.encode(),
        "config.json": json.dumps(timm_config()).encode(),
        "model.safetensors": weights,
        "selected_tags.csv": selected_tags().encode(),
    }


def onnx_form() -> bytes:
    """Return `model.onnx` of the same tagger: NHWC, BGR, 0-255, and a sigmoid at the end."""
    import io

    import torch

    body = timm_body()

    class Published(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = body

        def forward(self, input: torch.Tensor) -> torch.Tensor:
            images = input.permute(0, 3, 1, 2) / 127.5 - 1
            return torch.sigmoid(self.body(images))  # type: ignore[operator]

    program = torch.onnx.export(
        Published().eval(),
        (torch.zeros(2, SIZE, SIZE, 3),),
        input_names=["input"],
        output_names=["output"],
        dynamic_shapes={"input": {0: torch.export.Dim("batch", min=1)}},
        opset_version=18,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    buffer = io.BytesIO()
    program.save(buffer)
    return buffer.getvalue()


def linear_onnx(**changes: object) -> bytes:
    """Return a small ONNX tagger whose tags follow from the mean color: red smiles, blue cries, green is angry.

    It has the form of a WD tagger: `input`, float, (N, size, size, 3), BGR, 0-255; `output`, (N, tags), after a sigmoid. Its
    embedding are the colors of 4 x 4 cells. `changes` replace the names of operations by others.
    """
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    names = [name for name, _ in TAGS]
    by_channel = np.zeros((3, len(names)), dtype=np.float32)
    offsets = np.full(len(names), -6.0, dtype=np.float32)
    for name, weights in {"crying": (8, -4, -4), "angry": (-4, 8, -4), "smile": (-4, -4, 8)}.items():
        by_channel[:, names.index(name)] = weights
        offsets[names.index(name)] = -1.0
    offsets[names.index("1girl")], offsets[names.index("general")] = 3.0, 2.0
    constants = {
        "scale": np.array(255, dtype=np.float32),
        "middle": np.array(0.5, dtype=np.float32),
        "weights": np.repeat(by_channel, 16, axis=0) / 16,
        "offsets": offsets,
    }
    nodes = [
        helper.make_node("Div", ["input", "scale"], ["unit"]),
        helper.make_node("Sub", ["unit", "middle"], ["centered"]),
        helper.make_node("Transpose", ["centered"], ["channels"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["channels"], ["cells"], kernel_shape=[SIZE // 4] * 2, strides=[SIZE // 4] * 2),
        helper.make_node("Flatten", ["cells"], ["features"]),
        helper.make_node(str(changes.get("layer", "MatMul")), ["features", "weights"], ["product"]),
        helper.make_node("Add", ["product", "offsets"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tagger",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", SIZE, SIZE, 3])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", len(names)])],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    content: bytes = model.SerializeToString()
    return content


def wd_files(**changes: bytes | None) -> dict[str, bytes]:
    """Return the files of a small WD tagger in its ONNX form; `changes` replace files by stem, None removes one."""
    files = {
        "README.md": README.encode(),
        "config.json": json.dumps(timm_config()).encode(),
        "model.onnx": linear_onnx(),
        "selected_tags.csv": selected_tags().encode(),
    }
    by_stem = {name.partition(".")[0]: name for name in files}
    for stem, content in changes.items():
        if content is None:
            del files[by_stem[stem]]
        else:
            files[by_stem[stem]] = content
    return files


def git_digest(content: bytes) -> str:
    """Return the name of a blob in Git."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def is_large(name: str) -> bool:
    """Return whether a hub stores a file in Git LFS."""
    return name.endswith((".onnx", ".safetensors", ".bin", ".h5"))


def digest_of(name: str, content: bytes) -> str:
    """Return the digest by which a hub names a file."""
    return hashlib.sha256(content).hexdigest() if is_large(name) else git_digest(content)


def write_cache(hub_home: Path, repository: str, files: Mapping[str, bytes], commit: str = COMMIT, branch: str = "main") -> Path:
    """Write a repository into the cache of a HF_HOME, and return the folder of its snapshot."""
    folder = hub_home / "hub" / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / commit
    for part in (folder / "blobs", folder / "refs", snapshot):
        part.mkdir(parents=True, exist_ok=True)
    (folder / "refs" / branch).write_text(commit)
    for name, content in files.items():
        blob = folder / "blobs" / digest_of(name, content)
        blob.write_bytes(content)
        (snapshot / name).unlink(missing_ok=True)
        (snapshot / name).symlink_to(Path("..") / ".." / "blobs" / blob.name)
    return snapshot


class HubServer:
    """A server with the part of a hub's interface that a download needs.

    `files` are by repository. `gated` repositories answer 403 to the request for their files, as those do whose conditions the
    user has not accepted. `fails` is whether the server answers 500. `requests` are the methods and paths that were asked for,
    with their ranges.
    """

    def __init__(self, repositories: dict[str, dict[str, bytes]]) -> None:
        self.repositories = repositories
        self.commit = COMMIT
        self.gated: set[str] = set()
        self.fails = False
        self.requests: list[tuple[str, str, str | None]] = []
        self.truncate_at: int | None = None
        self.url = ""
        self.tokens: set[str | None] = set()

    def answer(self, handler: BaseHTTPRequestHandler, with_body: bool) -> None:
        path = unquote(urlsplit(handler.path).path)
        self.requests.append((handler.command, path, handler.headers.get("Range")))
        self.tokens.add(handler.headers.get("Authorization"))
        parts = path.strip("/").split("/")
        if self.fails:
            self._fail(handler, 500, "InternalError")
        elif parts[:2] == ["api", "models"]:
            self._info(handler, parts)
        else:
            self._file(handler, "/".join(parts[:2]), parts[3], "/".join(parts[4:]), with_body)

    def _info(self, handler: BaseHTTPRequestHandler, parts: list[str]) -> None:
        repository = "/".join(parts[2:4])
        revision = parts[5] if len(parts) > 5 else "main"
        if repository not in self.repositories:
            return self._fail(handler, 404, "RepoNotFound")
        if revision not in ("main", self.commit):
            return self._fail(handler, 404, "RevisionNotFound")
        siblings = []
        for name, content in self.repositories[repository].items():
            sibling: dict[str, object] = {"rfilename": name, "size": len(content), "blobId": git_digest(content)}
            if is_large(name):
                sibling["lfs"] = {"sha256": digest_of(name, content), "size": len(content), "pointerSize": 134}
            siblings.append(sibling)
        facts = {
            "id": repository,
            "modelId": repository,
            "sha": self.commit,
            "private": False,
            "gated": "auto" if repository in self.gated else False,
            "tags": ["license:apache-2.0"],
            "cardData": {"license": "apache-2.0"},
            "siblings": siblings,
            "downloads": 0,
            "likes": 0,
        }
        self._send(handler, json.dumps(facts).encode(), {"Content-Type": "application/json"}, True)
        return None

    def _file(self, handler: BaseHTTPRequestHandler, repository: str, revision: str, name: str, with_body: bool) -> None:
        if repository in self.gated:
            return self._fail(handler, 403, "GatedRepo")
        if name not in self.repositories[repository]:
            return self._fail(handler, 404, "EntryNotFound")
        content = self.repositories[repository][name]
        headers = {"X-Repo-Commit": self.commit, "ETag": f'"{digest_of(name, content)}"', "Accept-Ranges": "bytes"}
        start = 0
        if given := handler.headers.get("Range"):
            start = int(given.removeprefix("bytes=").partition("-")[0])
        self._send(handler, content[start:], headers, with_body, 206 if start else 200, len(content), start)
        return None

    def _send(
        self,
        handler: BaseHTTPRequestHandler,
        body: bytes,
        headers: Mapping[str, str],
        with_body: bool,
        status: int = 200,
        total: int = 0,
        start: int = 0,
    ) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        if status == 206:
            handler.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if with_body:
            if self.truncate_at is not None and len(body) > self.truncate_at:
                handler.wfile.write(body[: self.truncate_at])
                self.truncate_at = None
                handler.close_connection = True
            else:
                handler.wfile.write(body)

    @staticmethod
    def _fail(handler: BaseHTTPRequestHandler, status: int, code: str) -> None:
        handler.send_response(status)
        handler.send_header("X-Error-Code", code)
        handler.send_header("X-Error-Message", code)
        handler.send_header("Content-Length", "0")
        handler.end_headers()


@contextmanager
def serve_hub(repositories: dict[str, dict[str, bytes]]) -> Iterator[HubServer]:
    """Serve repositories on this machine until the block ends."""
    hub = HubServer(repositories)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            hub.answer(self, with_body=True)

        def do_HEAD(self) -> None:
            hub.answer(self, with_body=False)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def draw_mood(tag: str, seed: int) -> Image.Image:
    """Return an image of random cells for which `linear_onnx` computes a tag: smile, crying or angry."""
    import numpy as np
    from PIL import Image

    color = {"smile": (190, 70, 70), "crying": (70, 70, 190), "angry": (70, 190, 70)}[tag]
    cells = np.array(color) + np.random.default_rng(seed).integers(-64, 65, (4, 4, 3))
    return Image.fromarray(cells.clip(0, 255).astype(np.uint8)).resize((SIZE, SIZE), Image.Resampling.NEAREST)
