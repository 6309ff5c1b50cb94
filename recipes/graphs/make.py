"""Export the graphs of networks, without weights, for ONNX Runtime.

    python -m recipes.graphs.make

Writes models/inference/engines/graphs: graphs of the shipped model, of models taught from it, of the face detector, and of common
networks. Run it again if one of these networks changes; tests compare graphs with networks.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from indexer.domain.emotions import EMOTIONS
from models import zoo
from models.architectures.fuse_batchnorm import find_batchnorm_pairs, fuse_batchnorms
from models.architectures.network import Network
from models.architectures.registry import architecture
from models.export import OPSET
from models.faces.card import read_card as read_face_card
from models.faces.detector import GRAPH, MEAN, STD
from models.faces.network import FaceNet, NormalizedDetector
from models.inference.engines.onnx_graph import PREFIX, graph_path
from models.model_card import read_card

LITE, LITE_SIDES, SPACES_SIDES = "efficientnet_lite0", (128, 224), (128, 160)
"""Its padding depends on the input size, so there is one graph per size. Those with `spaces` are for models that the present or
the former default recipe trained.
"""

ANY_SIZE_NETWORKS = ("googlenet", "mobilenet_v3_large", "resnet18", "resnet50")
"""ONNX Runtime is faster than torch for these. It is not for others, such as EfficientNetV2, or torch cannot export them."""


class WithoutClassifier(nn.Module):
    """A network up to its classifier.

    It takes images, uint8, (N, size, size, 3), and returns the input of the classifier and the embedding.
    """

    def __init__(self, network: Network, mean: float, std: float) -> None:
        super().__init__()
        self.network, self.mean, self.std = network, mean, std

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        encoding = self.network.encode((pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std)
        return encoding.classifier_input, encoding.embedding


def main() -> None:
    shipped = read_card(zoo.checkpoints()[zoo.DEFAULT]).architecture
    for name in (shipped, architecture(f"{shipped}+whole").name):
        for size in SPACES_SIDES:
            export_graph(_without_classifier(name, size), graph_path(name, size), size)
    for size in LITE_SIDES:
        export_graph(_without_classifier(LITE, size), graph_path(LITE, size), size)
    for name in ANY_SIZE_NETWORKS:
        export_graph(_without_classifier(name, max(LITE_SIDES)), graph_path(name), max(LITE_SIDES), any_size=True)
    side = read_face_card().side
    for detector_side in (side, 2 * side):
        export_graph(NormalizedDetector(FaceNet(), MEAN, STD), graph_path(GRAPH, detector_side), detector_side)


def _without_classifier(name: str, size: int) -> WithoutClassifier:
    kind = architecture(name)
    return WithoutClassifier(kind.build(len(EMOTIONS), size), kind.mean, kind.std)


def export_graph(module: nn.Module, path: Path, size: int, any_size: bool = False) -> None:
    """Write the graph of a module with a `network` in it, for any number of images of one size.

    `any_size`: the same operations serve any size. Tests must check this.
    """
    network = module.get_submodule(PREFIX.rstrip("."))
    _make_distinct(network)
    network_facts = describe(network)
    norms = list(find_batchnorm_pairs(network))
    fuse_batchnorms(network)
    module.eval()
    example_input = torch.zeros((2, size, size, 3), dtype=torch.uint8)
    program = torch.onnx.export(
        module,
        (example_input,),
        input_names=["pixels"],
        dynamic_shapes={"pixels": {0: torch.export.Dim("N", min=1)}},
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    if program is None:
        raise SystemExit(f"torch returned no program for {path.stem}.")
    model = program.model_proto
    weights = [tensor.name for tensor in model.graph.initializer if tensor.name.startswith(PREFIX)]
    expected = {PREFIX + name for name in network.state_dict() if not name.startswith("classifier.")}
    if expected != set(weights):
        raise SystemExit(f"The graph of {path.stem} and the network differ in {sorted(expected ^ set(weights))}.")
    _externalize_weights(model)
    _remove_source_locations(model)
    if any_size:
        _, *sides, _ = model.graph.input[0].type.tensor_type.shape.dim
        for side in sides:
            side.dim_param = "side"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
    facts = {
        "weights": [name.removeprefix(PREFIX) for name in weights],
        "norms": norms,
        "mean": module.mean,
        "std": module.std,
        **network_facts,
    }
    path.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n")
    print(f"{path.name}: {len(model.graph.node)} operations, {path.stat().st_size / 1e3:.0f} kB")


def describe(network: nn.Module) -> dict[str, Any]:
    """Return the facts that weights and cards are compared with: shapes by name, and the embedding of a classifier."""
    state = {
        name: list(tensor.shape) for name, tensor in network.state_dict().items() if not name.endswith("num_batches_tracked")
    }
    is_classifier = isinstance(network, Network)
    return {
        "shapes": {name: shape for name, shape in state.items() if not name.startswith("classifier.")},
        "reads": state["classifier.weight"][1] if is_classifier else 0,
        "spaces": dict(network.spaces) if is_classifier else {},
        "embedding_size": network.embedding_size if is_classifier else 0,
    }


def _make_distinct(network: nn.Module) -> None:
    """Give all weights different values: the exporter merges equal ones, such as the biases of a new network."""
    generator = torch.Generator().manual_seed(0)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)


def _externalize_weights(model: onnx.ModelProto) -> None:
    """Make the weights of the network external data, by name. A session gets the weights of a checkpoint."""
    for tensor in model.graph.initializer:
        if tensor.name.startswith(PREFIX):
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value="checkpoint")


def _remove_source_locations(model: onnx.ModelProto) -> None:
    """Remove the source locations of operations."""
    del model.metadata_props[:], model.graph.metadata_props[:], model.graph.value_info[:]
    for part in (*model.graph.node, *model.graph.input, *model.graph.output):
        del part.metadata_props[:]
        part.doc_string = ""


if __name__ == "__main__":
    main()
