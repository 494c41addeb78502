"""A trained network as a function of grey levels, for `torch.export`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from napari_redenoise.config import NetworkConfig
from napari_redenoise.nn._plain_layers import export
from napari_redenoise.nn.networks._adarenet import DenoisingNetwork, build_network


class DeployedNetwork(nn.Module):
    """A network whose input and output are grey levels.

    Parameters
    ----------
    network : AdaReNet or SingleBranch
        Copied, with its equivariant layers folded into plain ones.
    mean, std : sequence of float
        Per channel, in grey levels: the network sees ``(x - mean) / std``.

    Input and output are (B, channels, H, W), float32. Both sides are longer than the stride of the
    network. Non-finite pixels keep their value. Hot, dead and missing pixels are shown to the
    network as they are, where `Redenoiser.predict` replaces them. An image is processed whole,
    without tiles.

    Notes
    -----
    Pads by reflection to a multiple of the stride, as `pad_to_multiple` does. Its operations do not
    depend on the size, so they can be exported.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, network: DenoisingNetwork, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        # A network that predicted is in channels_last, which `torch.export` takes for a condition.
        plain = export(network).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self.network = plain.requires_grad_(False)
        self.stride = network.stride
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(
                name, torch.tensor(values, dtype=torch.float32).reshape(1, -1, 1, 1)
            )

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        x = torch.nan_to_num((image - self.mean) / self.std, nan=0.0, posinf=0.0, neginf=0.0)
        x = self._padded(self._padded(x, -2, height), -1, width)
        x = self.network(x).denoised
        x = self._cropped(self._cropped(x, -2, height), -1, width)
        return torch.where(image.isfinite(), x * self.std + self.mean, image)

    def _margins(self, size: int) -> tuple[int, int]:
        total = (size + self.stride - 1) // self.stride * self.stride - size
        return total // 2, total - total // 2

    def _padded(self, x: Tensor, axis: int, size: int) -> Tensor:
        before, after = self._margins(size)
        period = 2 * (size - 1)
        index = torch.arange(-before, size + after, device=x.device) % period
        return x.index_select(axis, torch.minimum(index, period - index))

    def _cropped(self, x: Tensor, axis: int, size: int) -> Tensor:
        before, _ = self._margins(size)
        return x.index_select(axis, torch.arange(before, before + size, device=x.device))


def deployed_network(
    network: Mapping[str, Any], mean: Sequence[float], std: Sequence[float]
) -> DeployedNetwork:
    """Build a deployed network with random weights, from plain values.

    Programs that load an exported model call it, and then load its weights.

    Parameters
    ----------
    network : mapping
        Fields of a `NetworkConfig`.
    mean, std : sequence of float
        As in `DeployedNetwork`.

    Returns
    -------
    DeployedNetwork
    """
    built = build_network(NetworkConfig(**network), torch.Generator(), torch.float32)
    return DeployedNetwork(built, mean, std).eval()
