"""JSON schema of the fields of a RayJob of KubeRay (`ray.io/v1`) that an example may use.

The names are those of the custom resource definition `ray.io_rayjobs.yaml` of KubeRay 1.5; unknown ones are errors.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string", "minLength": 1}
COUNT: Schema = {"type": "integer", "minimum": 0}
TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
QUANTITY: Schema = {"type": "string", "pattern": r"^\d+(\.\d+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"}


def _object(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    return {"type": "object", "additionalProperties": False, "required": list(required), "properties": properties}


def _list(items: Schema, least: int = 0) -> Schema:
    return {"type": "array", "items": items, "minItems": least}


_QUANTITIES: Schema = {"type": "object", "additionalProperties": QUANTITY}

CONTAINER = _object(
    ("name", "image"),
    name={"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"},
    image=TEXT,
    env=_list(_object(("name",), name=TEXT, value={"type": "string"})),
    envFrom=_list(_object(secretRef=_object(("name",), name=TEXT))),
    resources=_object(requests=_QUANTITIES, limits=_QUANTITIES),
    volumeMounts=_list(_object(("name", "mountPath"), name=TEXT, mountPath=TEXT)),
)

TEMPLATE = _object(
    ("spec",),
    metadata=_object(labels=TEXTS, annotations=TEXTS),
    spec=_object(("containers",), containers=_list(CONTAINER, 1), volumes=_list({"type": "object"})),
)

RAY_CLUSTER = _object(
    ("headGroupSpec",),
    rayVersion={"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
    enableInTreeAutoscaling={"type": "boolean"},
    headGroupSpec=_object(("rayStartParams", "template"), rayStartParams=TEXTS, template=TEMPLATE, serviceType=TEXT),
    workerGroupSpecs=_list(
        _object(
            ("groupName", "rayStartParams", "template", "minReplicas", "maxReplicas"),
            groupName=TEXT,
            replicas=COUNT,
            minReplicas=COUNT,
            maxReplicas=COUNT,
            rayStartParams=TEXTS,
            template=TEMPLATE,
        )
    ),
)

RAY_JOB = _object(
    ("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=_object(("name",), name=TEXT, namespace=TEXT, labels=TEXTS),
    spec=_object(
        ("entrypoint", "rayClusterSpec"),
        entrypoint=TEXT,
        submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
        shutdownAfterJobFinishes={"type": "boolean"},
        ttlSecondsAfterFinished=COUNT,
        activeDeadlineSeconds=COUNT,
        backoffLimit=COUNT,
        runtimeEnvYAML=TEXT,
        suspend={"type": "boolean"},
        rayClusterSpec=RAY_CLUSTER,
    ),
)
