"""How exact tiling and rotation are: differences from the whole image, errors by size."""

import statistics

import numpy as np
import torch
from _report import machine, publish, table

from napari_redenoise.config import NetworkConfig
from napari_redenoise.data import Normalisation, Planes
from napari_redenoise.inference import predict, predict_tile
from napari_redenoise.nn import build_network, parse_group, receptive_radius
from napari_redenoise.nn.testing import equivariance_error

NAME = "exactness"
SHAPES = ((641, 777), (1001, 530))
EVEN, ODD = (32, 50, 64, 94, 128), (33, 51, 65, 95, 127)


def main() -> None:
    """Measure and write the tables."""
    publish(NAME, f"{tiling()}\n\n{rotation()}\n\n{machine()}; random weights, seed 0.")


def tiling() -> str:
    """Tiled against whole prediction, in float32 and under bfloat16 autocast."""
    lines = []
    unit = Normalisation((0.0,), (1.0,))
    for kind in ("adarenet", "equivariant", "standard"):
        torch.manual_seed(0)
        config = NetworkConfig(kind=kind)
        network = build_network(config).eval()
        for shape in SHAPES:
            image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
            whole = predict_tile(network, image[None], unit).denoised[0]
            coarse = predict_tile(network, image[None], unit, torch.bfloat16).denoised[0]
            tiled = np.empty_like(image)
            halo = receptive_radius(config)
            events = predict(
                network, Planes(image, "YX"), unit, {"denoised": tiled}, tile=448, halo=halo
            )
            count = len(list(events))
            lines.append(
                [
                    kind,
                    f"{shape[0]} × {shape[1]}",
                    count,
                    f"{np.abs(tiled - whole).max() / whole.std():.1e}",
                    f"{np.abs(coarse - whole).max() / whole.std():.1e}",
                    f"{(coarse - whole).std() / whole.std():.1e}",
                ]
            )
    return table(
        [
            "network",
            "image",
            "tiles",
            "tiled − whole, largest",
            "bfloat16 − float32, largest",
            "bfloat16 − float32, RMS",
        ],
        lines,
    )


def rotation() -> str:
    """Error under a rotation by 90 degrees, even and odd sizes, relative to the output."""
    lines = []
    for name in ("C4", "D4", "C8"):
        group = parse_group(name)
        torch.manual_seed(0)
        network = build_network(NetworkConfig(kind="equivariant", group=name))
        for dtype in (torch.float32, torch.float64):
            network = network.to(dtype)

            def error(size: int, network=network, dtype=dtype, group=group) -> float:
                x = torch.randn(1, 1, size, size, dtype=dtype)
                turn = group.order // 4
                return equivariance_error(lambda t: network(t).denoised, x, group, turn)

            even, odd = [error(size) for size in EVEN], [error(size) for size in ODD]
            lines.append([name, str(dtype)[6:], f"{max(even):.1e}", f"{statistics.mean(odd):.2f}"])
    return table(
        ["group", "dtype", "even sizes, largest error", "odd sizes, mean error (not exact)"], lines
    )


if __name__ == "__main__":
    main()
