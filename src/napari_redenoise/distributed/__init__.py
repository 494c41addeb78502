"""Prediction by the workers of a dask cluster, block by block."""

from napari_redenoise.distributed._blocks import Block, plane_blocks
from napari_redenoise.distributed._cluster import Cluster, check_cluster
from napari_redenoise.distributed._run import BlockDone, predict_blocks
from napari_redenoise.distributed._worker import Job

__all__ = [
    "Block",
    "BlockDone",
    "Cluster",
    "Job",
    "check_cluster",
    "plane_blocks",
    "predict_blocks",
]
