"""Representations and numbers of fields of the feature maps of a traced network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from torch import fx, nn

from napari_redenoise.nn.convert._factors import constants
from napari_redenoise.nn.convert._roles import (
    Role,
    argument,
    function_role,
    kind_of,
    module_role,
    refusal,
)
from napari_redenoise.nn.layers._group import Representation


@dataclass
class ConversionPlan:
    """Properties of the nodes of a graph.

    ``channels`` and ``representation`` contain feature maps only. ``channels`` is the number of
    channels in the original network, or None if it is unknown.
    """

    traced: fx.GraphModule
    width: Callable[[int], int]
    roles: dict[fx.Node, Role] = field(default_factory=dict)
    channels: dict[fx.Node, int | None] = field(default_factory=dict)
    representation: dict[fx.Node, Representation] = field(default_factory=dict)
    problems: dict[fx.Node, str] = field(default_factory=dict)
    tied: dict[fx.Node, fx.Node] = field(default_factory=dict)
    # Nodes and multiples that determine the fields of a node.
    parts: dict[fx.Node, list[tuple[fx.Node, int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.constants = constants(self.traced)
        for node in self.traced.graph.nodes:
            self._classify(node)
        self._check_inputs()
        trivial = self._must_be_trivial()
        for node in self.channels:
            self.representation[node] = self._represent(node, trivial)
            self._relate(node)

    def module(self, node: fx.Node) -> nn.Module | None:
        """The layer that a node calls."""
        if node.op != "call_module":
            return None
        return self.traced.get_submodule(str(node.target))

    def inputs(self, node: fx.Node) -> list[fx.Node]:
        """The distinct feature maps among the inputs of a node."""
        return [source for source in node.all_input_nodes if source in self.channels]

    def is_regular(self, node: fx.Node) -> bool:
        """Whether a node is a regular feature map."""
        return self.representation[node] == "regular"

    def sizes(self) -> set[fx.Node]:
        """Sizes of feature maps, and numbers computed from them."""
        numbers = {node for node, role in self.roles.items() if role is Role.NUMBER}
        return {node for node in numbers if node not in self.constants}

    def fields(self, node: fx.Node) -> int:
        """Number of fields of a feature map; the channels of a trivial one.

        Raises
        ------
        NotConvertible
            When the channels of the input are unknown, or combined feature maps differ in fields.
        """
        if not self.is_regular(node):
            return self.plain_channels(node)
        root = self._root(node)
        members = [other for other in self.parts if self._root(other) is root]
        sums = {
            sum(self._share(part) * times for part, times in self.parts[other]) for other in members
        }
        if len(sums) > 1:
            raise NotConvertible(
                f"combines feature maps of {' and '.join(map(str, sorted(sums)))} fields: pass "
                "keep_fields=True, or make channels multiples of the group's size"
            )
        return sums.pop() if sums else self.width(self.plain_channels(root))

    def plain_channels(self, node: fx.Node) -> int:
        """Number of channels in the original network."""
        channels = self.channels[node]
        if channels is None:
            raise NotConvertible(
                "takes an image with an unknown number of channels: begin with a convolution"
            )
        return channels

    def lifted(self, node: fx.Node) -> list[fx.Node]:
        """Inputs of a node that must be lifted."""
        role, regular = self.roles[node], self.is_regular(node)
        if role is Role.CONVOLUTION:
            # Between trivial maps the filters of a projection are averaged over the group.
            both_trivial = not regular and not self.is_regular(self.inputs(node)[0])
            return self.inputs(node) if both_trivial else []
        if not regular or role not in (Role.COMBINE, Role.CONCATENATE):
            return []
        # A single trivial channel is broadcast.
        broadcast = role is Role.COMBINE
        return [
            source
            for source in self.inputs(node)
            if not self.is_regular(source) and not (broadcast and self.channels[source] == 1)
        ]

    def _classify(self, node: fx.Node) -> None:
        features, module = self.inputs(node), self.module(node)
        role = self._role(node, module, len(features))
        self.roles[node] = role
        if role in (Role.NUMBER, Role.OUTPUT):
            return
        reason = None if role is Role.INPUT else refusal(node, module, role)
        if reason is not None:
            self.problems[node] = reason
        self.channels[node] = self._channels(node, role, module, features)

    def _check_inputs(self) -> None:
        """Record further inputs that are not images."""
        _, *others = [node for node, role in self.roles.items() if role is Role.INPUT]
        for node in others:
            if not self._is_image(node):
                self.problems[node] = (
                    "is not an image that a convolution takes: give it a default value, which the "
                    "result keeps, or append it to the image as a channel"
                )

    def _is_image(self, node: fx.Node) -> bool:
        """Whether a convolution takes a map, directly or after layers that keep channels."""
        through = (Role.KEEP, Role.NORM, Role.SLOPE, Role.SCALE)
        return any(
            self.roles[user] is Role.CONVOLUTION
            or (self.roles[user] in through and self._is_image(user))
            for user in node.users
        )

    def _role(self, node: fx.Node, module: nn.Module | None, features: int) -> Role:
        if node.op == "placeholder":
            return Role.INPUT
        if node.op == "output":
            return Role.OUTPUT
        if node.op == "get_attr":
            return Role.UNKNOWN if self._is_combined_with_maps(node) else Role.NUMBER
        if node in self.constants:
            return Role.NUMBER
        return module_role(module) if module is not None else function_role(node, features)

    def _is_combined_with_maps(self, node: fx.Node) -> bool:
        """Whether a parameter with several numbers, or a result of it, is combined with maps."""
        return self.constants[node].numel() > 1 and any(
            user not in self.constants or self._is_combined_with_maps(user) for user in node.users
        )

    def _channels(
        self, node: fx.Node, role: Role, module: nn.Module | None, features: list[fx.Node]
    ) -> int | None:
        if role is Role.INPUT:
            return next(self._wanted_channels(node), None)
        if role is Role.CONVOLUTION:
            return int(module.out_channels)  # type: ignore[union-attr, arg-type]
        if role is Role.SCALE:
            return int(module.fields)  # type: ignore[union-attr, arg-type]
        if role is Role.OVER_CHANNELS:
            return 1
        known = [self.channels[source] for source in features]
        if role is Role.CONCATENATE:
            parts = [self.channels.get(source) for source in concatenated(node)]
            return None if None in parts else sum(parts)  # type: ignore[arg-type]
        return max((channels for channels in known if channels is not None), default=None)

    def _wanted_channels(self, node: fx.Node) -> Iterator[int]:
        """Yield the channels that the layers after an input expect."""
        for user in node.users:
            module = self.module(user)
            made_for = ("in_channels", "num_features", "num_channels", "fields")
            known = [getattr(module, name) for name in made_for if hasattr(module, name)]
            yield from known
            if not known:
                role = self._role(user, module, 1)
                if role in (Role.KEEP, Role.DROP_CHANNELS, Role.DROP_PIXELS):
                    yield from self._wanted_channels(user)

    def _must_be_trivial(self) -> set[fx.Node]:
        """Maps that reach the output without a convolution, or are broadcast to other maps."""
        found: set[fx.Node] = set()
        for node in reversed(self.traced.graph.nodes):
            role = self.roles[node]
            through = role not in (Role.CONVOLUTION, Role.OVER_CHANNELS, Role.NUMBER)
            if role is Role.OUTPUT or (node in found and through):
                found.update(self.inputs(node))
            elif role is Role.COMBINE:
                found.update(self._broadcast(node))
        return found

    def _broadcast(self, node: fx.Node) -> list[fx.Node]:
        """Inputs of one channel that are combined with several channels."""
        many = self.channels[node] != 1
        return [source for source in self.inputs(node) if many and self.channels[source] == 1]

    def _represent(self, node: fx.Node, trivial: set[fx.Node]) -> Representation:
        role = self.roles[node]
        if role is Role.CONVOLUTION:
            return "trivial" if node in trivial else "regular"
        if role in (Role.INPUT, Role.OVER_CHANNELS):
            return "trivial"
        return "regular" if any(map(self.is_regular, self.inputs(node))) else "trivial"

    def _relate(self, node: fx.Node) -> None:
        """Relate the fields of a regular map to those of its inputs."""
        role, sources = self.roles[node], self.inputs(node)
        if not self.is_regular(node):
            return
        if role is Role.CONCATENATE:
            self.parts[node] = [(source, 1) for source in concatenated(node)]
        elif role is Role.CONVOLUTION:
            times = depthwise_multiplier(self.module(node))
            if times == 1 and self.is_regular(sources[0]):
                self.tied[self._root(sources[0])] = self._root(node)
            elif times:
                self.parts[node] = [(sources[0], times)]
        else:
            lifted = self.lifted(node)
            for source in sources:
                if source in lifted:
                    self.parts[source] = [(source, 1)]
                if source in lifted or self.is_regular(source):
                    self.tied[self._root(source)] = self._root(node)

    def _root(self, node: fx.Node) -> fx.Node:
        while self.tied.get(node, node) is not node:
            node = self.tied[node]
        return node

    def _share(self, node: fx.Node) -> int:
        return self.fields(node) if self.is_regular(node) else self.plain_channels(node)


class NotConvertible(Exception):
    """A node cannot be converted; the message gives reason and remedy."""


def concatenated(node: fx.Node) -> list[fx.Node]:
    """Inputs of a concatenation, in order, with repetitions."""
    parts = argument(node, 0, "tensors", ())
    # The parts of a function such as chunk are a single node.
    parts = [parts] if isinstance(parts, fx.Node) else parts
    return [part for part in parts if isinstance(part, fx.Node)]


def describe(plan: ConversionPlan, node: fx.Node, reason: str) -> str:
    """Name, type, reason and remedy of a node, as text."""
    name = str(node.target) if node.op in ("call_module", "get_attr") else node.name
    return f"{name} ({kind_of(node, plan.module(node))}) {reason}"


def depthwise_multiplier(module: nn.Module | None) -> int:
    """Output channels per input channel of a depthwise convolution; 0 for other modules."""
    if not isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        return 0
    if module.groups == 1 or module.groups != module.in_channels:
        return 0
    return module.out_channels // module.in_channels
