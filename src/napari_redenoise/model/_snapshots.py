"""Snapshots of the weights during training, to preview and to roll back to."""

from __future__ import annotations

import copy
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

MAX_SNAPSHOTS = 16

SMOOTHED = 20
"""Number of last steps whose loss is averaged for a snapshot."""


@dataclass(frozen=True)
class Snapshot:
    """The averaged weights after a step.

    Attributes
    ----------
    step : int
        Step, counted over all trainings of the model.
    loss : float
        Mean loss over the last steps; NaN if unknown.
    weights : dict
        The network's ``state_dict`` on the CPU, float32.
    provenance : dict
        Provenance up to this step.
    """

    step: int
    loss: float
    weights: dict[str, Tensor] = field(repr=False, compare=False)
    provenance: dict[str, Any] = field(repr=False, compare=False)

    @classmethod
    def of(
        cls, network: DenoisingNetwork, losses: Sequence[float], provenance: dict[str, Any]
    ) -> Snapshot:
        """Copy the weights of a network; the provenance holds the step."""
        weights = {
            name: value.detach().to("cpu", torch.float32, copy=True)
            for name, value in network.state_dict().items()
        }
        loss = float(np.mean(losses[-SMOOTHED:])) if losses else float("nan")
        return cls(provenance.get("steps", 0), loss, weights, provenance)

    def network(self, config: NetworkConfig, device: torch.device) -> DenoisingNetwork:
        """Build a network with these weights, in evaluation mode."""
        network = build_network(config, torch.Generator(), torch.float32)
        network.load_state_dict(self.weights)
        network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        network.eval().requires_grad_(False)
        return network


class Snapshots:
    """At most `MAX_SNAPSHOTS` snapshots, evenly spread over a training of any length.

    The training thread adds snapshots while other threads read them.
    """

    def __init__(self) -> None:
        self._kept: tuple[Snapshot, ...] = ()
        self._last: Snapshot | None = None
        self._spacing = 1
        self._origin = 0
        self._network: DenoisingNetwork | None = None
        self._lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Without the lock and the network, which `copy` and `pickle` make anew."""
        return {**self.__dict__, "_lock": None, "_network": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take a state over, with a lock of its own."""
        self.__dict__.update(state)
        self._lock = Lock()

    def copy(self) -> Snapshots:
        """Copy the collection, to continue separately."""
        return copy.copy(self)

    @property
    def all(self) -> tuple[Snapshot, ...]:
        """Snapshots by step; with the last step of a paused or ended training."""
        kept, last = self._kept, self._last
        if last is None or (kept and kept[-1].step >= last.step):
            return kept
        return (*kept, last)

    def find(self, step: int) -> Snapshot:
        """Find the snapshot of a step; raise a ConfigError if there is none."""
        snapshots = {snapshot.step: snapshot for snapshot in self.all}
        if step not in snapshots:
            steps = ", ".join(map(str, snapshots)) or "none"
            raise ConfigError(f"there is no snapshot of step {step}: choose one of these ({steps})")
        return snapshots[step]

    def is_due(self, step: int) -> bool:
        """Whether to keep a snapshot of this step."""
        return step % self._spacing == 0

    def keep(self, snapshot: Snapshot) -> None:
        """Add a snapshot; drop every second one when there are too many."""
        self._thin((*self._kept, snapshot))

    def keep_last(self, snapshot: Snapshot) -> None:
        """Keep the snapshot of the last step, until a later one is kept."""
        self._last = snapshot

    def resume(self, snapshot: Snapshot) -> None:
        """Continue training from a snapshot, which is kept; drop later ones."""
        self._origin = snapshot.step
        self._last = None
        self._thin((*(kept for kept in self._kept if kept.step < snapshot.step), snapshot))

    def _thin(self, kept: tuple[Snapshot, ...]) -> None:
        # One place is for the last step.
        while len(kept) >= MAX_SNAPSHOTS:
            self._spacing *= 2
            kept = tuple(one for one in kept if self.is_due(one.step) or one.step == self._origin)
        self._kept = kept

    @contextmanager
    def shown(
        self, step: int, config: NetworkConfig, device: torch.device
    ) -> Iterator[DenoisingNetwork]:
        """Load the weights of a step into a network for previews, one caller at a time."""
        snapshot = self.find(step)
        with self._lock:
            if self._network is None:
                self._network = snapshot.network(config, device)
            self._network.load_state_dict(snapshot.weights)
            yield self._network
