"""What is in a graph: a GraphDef, a MetaGraphDef, or each MetaGraphDef of a SavedModel."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf import text_format
from google.protobuf.message import DecodeError, Message
from tensorflow.core.framework import graph_pb2, variable_pb2
from tensorflow.core.protobuf import meta_graph_pb2, queue_runner_pb2, saved_model_pb2

from launcher.estimator.inspection import checkpoints
from launcher.estimator.inspection.kinds import Found, Kind
from launcher.estimator.inspection.values import (
    Graph,
    InspectionError,
    Member,
    Model,
    Shape,
    Signature,
    Tensor,
    Variable,
)

PLACEHOLDERS = ("Placeholder", "PlaceholderV2", "PlaceholderWithDefault")
_VARIABLE_OPS = ("VarHandleOp", "VariableV2", "Variable", "TemporaryVariable")
_NO_RESULT = ("NoOp", "Assert", "Const", "Placeholder", "ReadVariableOp", "VarIsInitializedOp", *_VARIABLE_OPS)
_FOLDERS = ("variables", "assets", "assets.extra")  # of a SavedModel, besides its files
_QUEUE_RUNNERS = "queue_runners"
_MAX_NAMES = 10_000  # of one collection; beyond, it is no list that anybody reads
_PROTOS: dict[Kind, Callable[[], Any]] = {
    Kind.GRAPH: graph_pb2.GraphDef,
    Kind.META_GRAPH: meta_graph_pb2.MetaGraphDef,
    Kind.SAVED_MODEL: saved_model_pb2.SavedModel,
}


def read(found: Found) -> Any:
    """The protocol buffer of a graph's file, or of a SavedModel's folder. Raises InspectionError."""
    path, is_text = found.path, found.is_text
    if found.kind is Kind.SAVED_MODEL and path.is_dir():
        is_text = not (path / "saved_model.pb").is_file()
        path = path / ("saved_model.pbtxt" if is_text else "saved_model.pb")
    proto: Message = _PROTOS[found.kind]()
    try:
        data = path.read_bytes()
        if is_text:
            text_format.Parse(data, proto)
        else:
            proto.ParseFromString(data)
    except (DecodeError, text_format.ParseError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise InspectionError(f"{path}: damaged or incomplete: {checkpoints.brief(error)}") from error
    except OSError as error:
        raise InspectionError(f"{path}: {error.strerror}") from error
    return proto


def graph_file(found: Found) -> Model:
    """A GraphDef, or a MetaGraphDef with the variables of the checkpoint beside it, if there is one."""
    proto = read(found)
    size = found.path.stat().st_size
    if found.kind is Kind.GRAPH:
        return Model(kind="graph", path=str(found.path), bytes=size, graphs=(_graph(proto),), notes=found.notes)
    prefix = found.path.with_name(found.path.name.removesuffix(".meta"))
    variables, problems = _beside(prefix) if prefix != found.path else ((), ())
    notes = () if variables else ("a graph alone: no values of variables",)
    return Model(
        kind="meta_graph",
        path=str(found.path),
        bytes=size,
        variables_from=str(prefix) if variables else "",
        variables=variables,
        graphs=(_meta_graph(proto),),
        notes=(*found.notes, *notes),
        problems=problems,
    )


def saved_model(found: Found) -> Model:
    """Every graph of a SavedModel, and its variables."""
    proto = read(found)
    folder = found.path if found.path.is_dir() else found.path.parent
    if not proto.meta_graphs:
        raise InspectionError(f"{found.path}: a SavedModel without a graph in it")
    variables, problems = _beside(folder / "variables" / "variables")
    graphs = tuple(map(_meta_graph, proto.meta_graphs))
    if not variables and any(set(graph.operations) & set(_VARIABLE_OPS) for graph in graphs) and not problems:
        problems = (f"its variables are missing: there is no {folder / 'variables'}",)
    return Model(
        kind="saved_model",
        path=str(found.path),
        bytes=sum(file.stat().st_size for file in _parts(found.path) if file.is_file()),
        variables_from=str(folder / "variables" / "variables") if variables else "",
        variables=variables,
        graphs=graphs,
        assets=tuple(sorted({asset.filename for meta in proto.meta_graphs for asset in meta.asset_file_def})),
        notes=found.notes,
        problems=problems,
    )


def _parts(saved_model: Path) -> Iterator[Path]:
    """What belongs to it; a file by itself may lie in any folder."""
    if saved_model.is_dir():
        yield from saved_model.rglob("*")
        return
    yield saved_model
    for name in _FOLDERS:
        yield from (saved_model.parent / name).rglob("*")


def _beside(prefix: Path) -> tuple[tuple[Variable, ...], tuple[str, ...]]:
    if not prefix.with_name(f"{prefix.name}.index").is_file():
        return (), ()
    try:
        variables = checkpoints.variables_of(checkpoints.open_reader(prefix))
    except InspectionError as error:
        return (), (str(error),)
    problem = checkpoints.data_problem(prefix, variables)
    return variables, (f"{prefix.name}: {problem}",) if problem else ()


# --- one graph ---------------------------------------------------------------------------------------------------


def _meta_graph(meta: Any) -> Graph:
    return _graph(
        meta.graph_def,
        tags=tuple(sorted(meta.meta_info_def.tags)),
        tensorflow=meta.meta_info_def.tensorflow_version,
        signatures=tuple(_signature(key, meta.signature_def[key]) for key in sorted(meta.signature_def)),
        collections=_collections(meta),
    )


def _graph(graph: Any, **more: Any) -> Graph:
    operations = Counter(node.op for node in graph.node)
    operations.update(node.op for function in graph.library.function for node in function.node_def)
    return Graph(
        nodes=len(graph.node),
        functions=len(graph.library.function),
        constant_bytes=sum(_constant_bytes(node) for node in graph.node if node.op == "Const"),
        placeholders=tuple(_placeholder(node) for node in graph.node if node.op in PLACEHOLDERS),
        outputs=_outputs(graph),
        operations=dict(sorted(operations.items(), key=lambda item: (-item[1], item[0]))),
        devices=tuple(sorted({node.device for node in graph.node if node.device})),
        **more,
    )


def _constant_bytes(node: Any) -> int:
    return int(node.attr["value"].tensor.ByteSize())


def _placeholder(node: Any) -> Tensor:
    return Tensor(
        tensor=f"{node.name}:0", dtype=_dtype(node.attr["dtype"].type), shape=_shape(node.attr["shape"].shape)
    )


def _outputs(graph: Any) -> tuple[Tensor, ...]:
    """The results of operations that no other takes. Type and shape are worked out where the graph says them."""
    taken = {name.lstrip("^").partition(":")[0] for node in graph.node for name in node.input}
    ends = [node for node in graph.node if node.name not in taken and node.op not in _NO_RESULT]
    ends = [
        node for node in ends if not node.op.startswith(("Assign", "Save", "Restore", "QueueEnqueue", "QueueClose"))
    ]
    return tuple(_output(node) for node in ends)


def _output(node: Any) -> Tensor:
    attr = node.attr
    dtype = next((attr[key].type for key in ("dtype", "T", "DstT", "out_type") if key in attr and attr[key].type), 0)
    shapes = attr["_output_shapes"].list.shape if "_output_shapes" in attr else ()
    return Tensor(
        tensor=f"{node.name}:0", dtype=_dtype(dtype) if dtype else "", shape=_shape(shapes[0]) if shapes else None
    )


def _signature(key: str, signature: Any) -> Signature:
    return Signature(
        key=key,
        method=signature.method_name,
        inputs=_tensors(signature.inputs),
        outputs=_tensors(signature.outputs),
    )


def _tensors(infos: Any) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(
            name=name,
            tensor=_tensor_name(infos[name]),
            dtype=_dtype(infos[name].dtype),
            shape=_shape(infos[name].tensor_shape),
        )
        for name in sorted(infos)
    )


def _tensor_name(info: Any) -> str:
    """A sparse tensor is three of them; that of its values says where it is."""
    return str(info.name or info.coo_sparse.values_tensor_name or "")


def _collections(meta: Any) -> dict[str, tuple[Member, ...]]:
    """Every collection: its variables with type and shape, its nodes by name, other values by their size."""
    variables = {node.name: node for node in meta.graph_def.node if node.op in _VARIABLE_OPS}
    found: dict[str, tuple[Member, ...]] = defaultdict(tuple)
    for name in sorted(meta.collection_def):
        definition = meta.collection_def[name]
        kind = definition.WhichOneof("kind")
        values: Sequence[Any] = getattr(definition, kind).value[:_MAX_NAMES] if kind else ()
        found[name] = tuple(_member(name, kind, value, variables) for value in values)
    return dict(found)


def _member(collection: str, kind: str | None, value: Any, variables: dict[str, Any]) -> Member:
    if kind != "bytes_list":
        return Member(name=str(getattr(value, "type_url", value)))
    definition = queue_runner_pb2.QueueRunnerDef() if collection == _QUEUE_RUNNERS else variable_pb2.VariableDef()
    try:
        definition.ParseFromString(value)
    except DecodeError:
        return Member(name=f"{len(value)} bytes")
    name = definition.queue_name if collection == _QUEUE_RUNNERS else definition.variable_name
    node = variables.get(name.partition(":")[0])
    if node is None:
        return Member(name=name or f"{len(value)} bytes")
    return Member(name=name, dtype=_dtype(node.attr["dtype"].type), shape=_shape(node.attr["shape"].shape))


def _dtype(number: int) -> str:
    try:
        return str(tf.dtypes.as_dtype(number).name)
    except (TypeError, KeyError):
        return f"type {number}"


def _shape(shape: Any) -> Shape:
    if shape.unknown_rank:
        return None
    return tuple(None if dim.size < 0 else int(dim.size) for dim in shape.dim)
