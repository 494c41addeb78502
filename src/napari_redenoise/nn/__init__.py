"""Networks: groups, Fourier-series convolutions, U-Nets and AdaReNet. Pure torch."""

from napari_redenoise.nn._adarenet import (
    AdaReNet,
    DenoisingNetwork,
    Prediction,
    SingleBranch,
    build_network,
)
from napari_redenoise.nn._basis import filter_basis
from napari_redenoise.nn._checkpoint import authors_config, load_authors_checkpoint
from napari_redenoise.nn._conv import GroupConv2d, LiftingConv2d, ProjectionConv2d, lift
from napari_redenoise.nn._group import CyclicGroup, DihedralGroup, Group, parse_group
from napari_redenoise.nn._pad import pad_to_multiple, padding, reflected
from napari_redenoise.nn._receptive import receptive_radius, total_stride
from napari_redenoise.nn._unet import EquivariantLayers, StandardLayers, UNet

__all__ = [
    "AdaReNet",
    "CyclicGroup",
    "DenoisingNetwork",
    "DihedralGroup",
    "EquivariantLayers",
    "Group",
    "GroupConv2d",
    "LiftingConv2d",
    "Prediction",
    "ProjectionConv2d",
    "SingleBranch",
    "StandardLayers",
    "UNet",
    "authors_config",
    "build_network",
    "filter_basis",
    "lift",
    "load_authors_checkpoint",
    "pad_to_multiple",
    "padding",
    "parse_group",
    "receptive_radius",
    "reflected",
    "total_stride",
]
