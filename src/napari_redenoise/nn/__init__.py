"""Networks in pure torch: groups, Fourier-series convolutions, U-Nets and AdaReNet."""

from napari_redenoise.nn._deployed_network import DeployedNetwork, deployed_network
from napari_redenoise.nn._plain_layers import export
from napari_redenoise.nn.convert._convert import to_equivariant
from napari_redenoise.nn.layers._basis import filter_basis
from napari_redenoise.nn.layers._conv import (
    GroupConv2d,
    GroupConvTranspose2d,
    Lift,
    LiftingConv2d,
    LiftingConvTranspose2d,
    ProjectionConv2d,
    ProjectionConvTranspose2d,
    lift,
)
from napari_redenoise.nn.layers._fields import (
    FieldAffine,
    FieldBatchNorm2d,
    FieldDropout2d,
    FieldGroupNorm,
    FieldInstanceNorm2d,
    FieldPReLU,
    GroupPool,
)
from napari_redenoise.nn.layers._group import CyclicGroup, DihedralGroup, Group, parse_group
from napari_redenoise.nn.layers._padding import pad_to_multiple, padding, reflect_indices
from napari_redenoise.nn.networks._adarenet import (
    AdaReNet,
    DenoisingNetwork,
    Prediction,
    SeparateChannels,
    SingleBranch,
    build_network,
)
from napari_redenoise.nn.networks._authors_checkpoint import authors_config, load_authors_checkpoint
from napari_redenoise.nn.networks._context import with_context
from napari_redenoise.nn.networks._receptive import receptive_radius, total_stride
from napari_redenoise.nn.networks._unet import EquivariantLayers, StandardLayers, UNet

__all__ = [
    "AdaReNet",
    "CyclicGroup",
    "DenoisingNetwork",
    "DeployedNetwork",
    "DihedralGroup",
    "EquivariantLayers",
    "FieldAffine",
    "FieldBatchNorm2d",
    "FieldDropout2d",
    "FieldGroupNorm",
    "FieldInstanceNorm2d",
    "FieldPReLU",
    "Group",
    "GroupConv2d",
    "GroupConvTranspose2d",
    "GroupPool",
    "Lift",
    "LiftingConv2d",
    "LiftingConvTranspose2d",
    "Prediction",
    "ProjectionConv2d",
    "ProjectionConvTranspose2d",
    "SeparateChannels",
    "SingleBranch",
    "StandardLayers",
    "UNet",
    "authors_config",
    "build_network",
    "deployed_network",
    "export",
    "filter_basis",
    "lift",
    "load_authors_checkpoint",
    "pad_to_multiple",
    "padding",
    "parse_group",
    "receptive_radius",
    "reflect_indices",
    "to_equivariant",
    "total_stride",
    "with_context",
]
