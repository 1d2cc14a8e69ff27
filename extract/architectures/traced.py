"""A network of convolutions or tokens, cut before its last linear layer by a rule: its graph is traced and taken apart.

The features are what the last linear layer gets. They come from the last feature map, which is the last value that has a
vector for each of several places. Where linear layers mix the places (AlexNet, VGG) nothing is pooled: there the map itself
is averaged, as the published study did, and those layers count as the classifier. torch.fx traces each of torchvision's
classification models (https://docs.pytorch.org/vision/stable/feature_extraction.html).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.overrides import TorchFunctionMode

from headstart.core.extract.backbones import CLASS_TOKEN, OWN_HEAD, POOLING
from headstart.core.extract.network.body import Body, Layout, without_numbers

Forward = Callable[[nn.Module, Tensor], Tensor]


class Traced(Body):
    """A network without its last linear layer and what only other heads use, under the names it had.

    `left_out` are the beginnings of the names of the parameters that were left out, `pooling` what a key says of `head`.
    """

    layer_nodes: Mapping[str, str | None]

    def __init__(self, model: nn.Module, graphs: Graphs) -> None:
        """Takes the model's modules over: it must not be used after."""
        super().__init__()
        self._trunk, self._head = (_forward(model, graph) for graph in (graphs.trunk, graphs.head))
        self.layout, self.pooling = graphs.layout, graphs.pooling
        self._graph, self.layer_nodes = graphs.trunk, graphs.layer_nodes
        self.left_out = tuple(_prune(model, graphs.used))
        self.float32 = tuple(sorted(graphs.head_names))
        self._modules, self._parameters, self._buffers = model._modules, model._parameters, model._buffers
        for name in graphs.constants:
            self.register_buffer(name, getattr(model, name), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels (N, 3, H, W) to the last feature map or tokens."""
        return self._trunk(self, pixels)

    def until(self, layer: str) -> Traced:
        """Itself, from now on ending in the output of one of `layer_nodes`, which has one node of the graph."""
        (last,) = (node for node in self._graph.nodes if node.name == self.layer_nodes[layer])
        self._graph = _part(self._graph, None, last)
        self._trunk = _forward(self, self._graph)
        return self

    def layer_shapes(self, image_size: int) -> dict[str, tuple[int, ...]]:
        """The shapes of the outputs of `layer_nodes`, each with one node, for one picture of `image_size` px squared."""
        shapes = {node.name: shape for node, shape in _shapes(self, self._graph, image_size).items()}
        return {name: shapes[node] for name, node in self.layer_nodes.items() if node in shapes}

    def head(self, found: Tensor) -> Tensor:
        """The last feature map or tokens in float32 to features (N, D), float32."""
        if self.pooling == POOLING:
            return self.layout.average(found)
        return self.layout.class_vector(found) if self.pooling == CLASS_TOKEN else self._head(self, found)


@dataclasses.dataclass(frozen=True)
class Graphs:
    """A network's graph in two: pixels to the last feature map, which lies as `layout` says, and on to what the last linear
    layer gets. `used` are the names of the modules, parameters and buffers of both, `head_names` of the latter.
    `layer_nodes` maps the modules of the first part to the names of the nodes with their outputs; None for a module that
    runs more than once."""

    trunk: fx.Graph
    head: fx.Graph
    layout: Layout
    pooling: str
    layer_nodes: Mapping[str, str | None]

    @property
    def used(self) -> set[str]:
        """All names that are needed."""
        return {*_names(self.trunk), *self.head_names}

    @property
    def constants(self) -> list[str]:
        """The tensors that tracing found computed, and that the graphs hold."""
        return sorted(name for name in {*_names(self.trunk), *_names(self.head)} if name.startswith("_tensor_constant"))

    @property
    def head_names(self) -> set[str]:
        """The names of modules and parameters that come after the last feature map."""
        return _names(self.head) if self.pooling == OWN_HEAD else set()


def _forward(model: nn.Module, graph: fx.Graph) -> Forward:
    """A graph as a function of a module, whose parts it names, and of what it is computed from."""
    found: Forward = type(fx.GraphModule(model, graph)).forward
    return found


class Unallocated(TorchFunctionMode):
    """Modules built inside have parameters without memory, on torch's meta device, while the numbers that they compute and
    keep are there: some take their sizes from such numbers (RegNet), and no file of weights holds them."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.empty and kwargs.get("device") is None:
            kwargs = {**kwargs, "device": "meta"}
        return func(*args, **kwargs)


def traced(build: Callable[[], nn.Module], image_size: int) -> Traced:
    """What `build` makes, in `eval()`, cut for pictures of `image_size` px squared. Where the default device is meta, its
    parameters have no memory."""
    if torch.get_default_device().type == "meta":
        with torch.device("cpu"), Unallocated():
            model = build().eval()
    else:
        model = build().eval()
    return Traced(model, taken_apart(model, image_size))


def taken_apart(model: nn.Module, image_size: int) -> Graphs:
    """A network's graph in two."""
    tracer = _Tracer()
    graph = tracer.trace(model)
    shapes = _shapes(model, graph, image_size)
    target = last_linear(model, graph).all_input_nodes[0]
    needed = _ancestors(target)
    before = [node for node in graph.nodes if node in needed]
    maps = [node for node in before if node.op != "get_attr" and _places(shapes.get(node, ())) > 1]
    last, pooling = maps[-1], None
    if _mixes_places(model, before, shapes, last):
        last, pooling = _before_resizing(model, last), POOLING
    shape = shapes[last]
    tokens = Layout("tokens", shape[1] - math.isqrt(shape[1]) ** 2, class_token=True)
    layout = tokens if len(shape) == 3 else Layout("first" if shape[2] == shape[3] else "last")
    trunk, head = _part(graph, None, last), _part(graph, last, target)
    there = {None, *(node.name for node in trunk.nodes)}
    layers = {name: node for name, node in tracer.outputs.items() if node in there}
    return Graphs(trunk, head, layout, pooling or _pooling(model, head, layout, shape), layers)


class _Tracer(fx.Tracer):
    """torch's own, which notes the node of every module's output; None where there are several."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: dict[str, str | None] = {}

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """As torch's."""
        found, name = super().call_module(m, forward, args, kwargs), self.path_of_module(m)
        one = found.node.name if isinstance(found, fx.Proxy) else None
        self.outputs[name] = one if name not in self.outputs else None
        return found


def last_linear(model: nn.Module, graph: fx.Graph) -> fx.Node:
    """The last linear layer; a convolution counts, as SqueezeNet's classifier is one."""
    linear: list[fx.Node] = [node for node in graph.nodes if isinstance(_module(model, node), nn.Linear | nn.Conv2d)]
    return linear[-1]


def _module(model: nn.Module, node: fx.Node) -> nn.Module | None:
    return model.get_submodule(str(node.target)) if node.op == "call_module" else None


def _names(graph: fx.Graph) -> set[str]:
    return {str(node.target) for node in graph.nodes if node.op in ("call_module", "get_attr")}


def _ancestors(node: fx.Node) -> set[fx.Node]:
    """A node and all that it is computed from."""
    found, waiting = set[fx.Node](), [node]
    while waiting:
        if (one := waiting.pop()) not in found:
            found.add(one)
            waiting += one.all_input_nodes
    return found


class _Shapes(nn.Module):
    """A graph run for the sake of its shapes."""

    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        super().__init__()
        self.graph_module = fx.GraphModule(model, graph)

    def forward(self, pixels: Tensor) -> None:
        ShapeProp(self.graph_module).propagate(pixels)


def _shapes(model: nn.Module, graph: fx.Graph, image_size: int) -> dict[fx.Node, tuple[int, ...]]:
    """The shapes of the tensors in a graph for one picture; nothing is computed."""
    run = _Shapes(model, graph)
    without_numbers(run, image_size)
    found = zip(graph.nodes, run.graph_module.graph.nodes, strict=True)
    tensors = ((node, twin.meta.get("tensor_meta")) for node, twin in found)
    return {node: tuple(meta.shape) for node, meta in tensors if hasattr(meta, "shape")}


def _places(shape: Sequence[int]) -> int:
    """How many places of a square picture a value of this shape has a vector for."""
    if len(shape) == 4:
        return shape[2] * shape[3] if shape[2] == shape[3] else shape[1] * shape[2] if shape[1] == shape[2] else 1
    return shape[1] if len(shape) == 3 else 1


def _mixes_places(
    model: nn.Module, nodes: Sequence[fx.Node], shapes: dict[fx.Node, tuple[int, ...]], last: fx.Node
) -> bool:
    """Whether a linear layer after the last map takes all of its numbers at once."""
    after = nodes[nodes.index(last) + 1 :]
    linear = (module for node in after if isinstance(module := _module(model, node), nn.Linear))
    return any(module.in_features == math.prod(shapes[last][1:]) for module in linear)


def _before_resizing(model: nn.Module, node: fx.Node) -> fx.Node:
    """The map itself, where the last thing done to it is to bring it to a size that linear layers take."""
    return node.all_input_nodes[0] if isinstance(_module(model, node), nn.AdaptiveAvgPool2d) else node


def _part(graph: fx.Graph, first: fx.Node | None, last: fx.Node) -> fx.Graph:
    """The graph that computes `last` from `first`, or from the pixels."""
    part, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    needed = _ancestors(last) if first is None else _between(first, last)
    if first is not None:
        copies[first] = part.placeholder("found")
    for node in graph.nodes:
        if node in needed and node not in copies:
            copies[node] = part.node_copy(node, lambda one: copies[one])
    part.output(copies[last])
    part.lint()
    return part


def _between(first: fx.Node, last: fx.Node) -> set[fx.Node]:
    """What `last` is computed from, once `first` is there."""
    found, waiting = {first}, [last]
    while waiting:
        if (one := waiting.pop()) not in found:
            found.add(one)
            waiting += one.all_input_nodes
    return found


def _pooling(model: nn.Module, head: fx.Graph, layout: Layout, shape: Sequence[int]) -> str:
    """What a key says of a head: that it is the average or the class token where that gives the same numbers. What has
    layers with parameters is a head of its own."""
    run = fx.GraphModule(model, head)
    if list(run.parameters()):
        return OWN_HEAD
    values = torch.rand(shape, generator=torch.Generator().manual_seed(0), device="cpu")
    found = run(values)
    if found.shape == values.shape:  # the last linear layer takes the map itself, and is averaged after
        return POOLING
    if found.shape[1:] == shape[1:2] and torch.allclose(found, layout.average(values)):
        return POOLING
    return CLASS_TOKEN if layout.class_token and torch.equal(found, layout.class_vector(values)) else OWN_HEAD


def _prune(model: nn.Module, used: set[str], prefix: str = "") -> Iterator[str]:
    """Take out what is not `used`; the beginnings of the names of the parameters that go with it."""
    for name, child in list(model.named_children()):
        full = f"{prefix}{name}"
        if full in used:
            continue
        if any(one.startswith(f"{full}.") for one in used):
            yield from _prune(child, used, f"{full}.")
        else:
            del model._modules[name]
            if child.state_dict():
                yield f"{full}."
