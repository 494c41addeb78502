"""Copies of the weights that a training went through, to look at and to go back to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_redenoise.config import NetworkConfig
from napari_redenoise.errors import ConfigError
from napari_redenoise.nn import DenoisingNetwork, build_network

MOST_SNAPSHOTS = 16

SMOOTHED = 20
"""Last steps over which the loss of a snapshot is averaged."""


@dataclass(frozen=True)
class Snapshot:
    """The averaged weights after a step.

    Attributes
    ----------
    step : int
        Counted over all trainings of the model.
    loss : float
        Mean over the last steps; ``nan`` where nothing is known of them.
    weights : dict
        As the network's ``state_dict`` has them, on the CPU, float32.
    provenance : dict
        What was run up to this step.
    """

    step: int
    loss: float
    weights: dict[str, Tensor] = field(repr=False, compare=False)
    provenance: dict[str, Any] = field(repr=False, compare=False)

    @classmethod
    def of(
        cls, network: DenoisingNetwork, losses: Sequence[float], provenance: dict[str, Any]
    ) -> Snapshot:
        """Copy what a network has learned; its step is that of the provenance."""
        weights = {
            name: value.detach().to("cpu", torch.float32, copy=True)
            for name, value in network.state_dict().items()
        }
        loss = float(np.mean(losses[-SMOOTHED:])) if losses else float("nan")
        return cls(provenance.get("steps", 0), loss, weights, provenance)

    def network(self, config: NetworkConfig, device: torch.device) -> DenoisingNetwork:
        """Make a network with these weights, in evaluation mode."""
        network = build_network(config, torch.Generator(), torch.float32)
        network.load_state_dict(self.weights)
        network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        network.eval().requires_grad_(False)
        return network


class Snapshots:
    """At most `MOST_SNAPSHOTS` snapshots, evenly spread over a training of any length.

    The training's thread adds to them while others read them.
    """

    def __init__(self) -> None:
        self._kept: tuple[Snapshot, ...] = ()
        self._last: Snapshot | None = None
        self._spacing = 1
        self._origin = 0
        self._network: DenoisingNetwork | None = None
        self._lock = Lock()

    def copy(self) -> Snapshots:
        """The same snapshots, to go on from on one's own."""
        twin = Snapshots()
        twin._kept, twin._last = self._kept, self._last
        twin._spacing, twin._origin = self._spacing, self._origin
        return twin

    @property
    def all(self) -> tuple[Snapshot, ...]:
        """By step; where the training rests or has ended, its last state among them."""
        kept, last = self._kept, self._last
        if last is None or (kept and kept[-1].step >= last.step):
            return kept
        return (*kept, last)

    def find(self, step: int) -> Snapshot:
        """The snapshot of a step.

        Raises
        ------
        ConfigError
            When there is none.
        """
        found = {snapshot.step: snapshot for snapshot in self.all}
        if step not in found:
            steps = ", ".join(map(str, found)) or "none"
            raise ConfigError(
                f"there is no snapshot of step {step}: choose one of those that were kept ({steps})"
            )
        return found[step]

    def is_due(self, step: int) -> bool:
        """Whether the state after this step is to be kept."""
        return step % self._spacing == 0

    def keep(self, snapshot: Snapshot) -> None:
        """Add the next; when they are too many, every second one goes."""
        self._thin((*self._kept, snapshot))

    def rest(self, snapshot: Snapshot) -> None:
        """Remember the last state, until a later one is kept."""
        self._last = snapshot

    def resume(self, snapshot: Snapshot) -> None:
        """Train on from a snapshot: it stays, to roll back to, and later ones are dropped."""
        self._origin = snapshot.step
        self._last = None
        self._thin((*(kept for kept in self._kept if kept.step < snapshot.step), snapshot))

    def _thin(self, kept: tuple[Snapshot, ...]) -> None:
        # One place is for the last state.
        while len(kept) >= MOST_SNAPSHOTS:
            self._spacing *= 2
            kept = tuple(one for one in kept if self.is_due(one.step) or one.step == self._origin)
        self._kept = kept

    @contextmanager
    def shown(
        self, step: int, config: NetworkConfig, device: torch.device
    ) -> Iterator[DenoisingNetwork]:
        """A network that only shows snapshots, with the weights of a step.

        Others wait until the context is left.
        """
        snapshot = self.find(step)
        with self._lock:
            if self._network is None:
                self._network = snapshot.network(config, device)
            self._network.load_state_dict(snapshot.weights)
            yield self._network
