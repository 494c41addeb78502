"""Files of images and models, and arrays for results."""

from napari_redenoise.io._authors_checkpoint import load_authors_model
from napari_redenoise.io._axes_of_file import axes_of_file
from napari_redenoise.io._bioimageio_file import export_bioimageio
from napari_redenoise.io._channels import RGB
from napari_redenoise.io._image_file import ImageFile
from napari_redenoise.io._images import lost_metadata, read_image, write_tiff
from napari_redenoise.io._inspection import inspect_file
from napari_redenoise.io._model_file import ModelFile, load_model, save_model
from napari_redenoise.io._ome_companion import ome_files
from napari_redenoise.io._ome_form import ome_form
from napari_redenoise.io._ome_metadata import ome_of_sizes
from napari_redenoise.io._ome_zarr_blocks import OmeZarrBlocks
from napari_redenoise.io._ome_zarr_writing import (
    OmeZarrStream,
    is_zarr,
    ome_zarr_stream,
    write_ome_zarr,
)
from napari_redenoise.io._output_names import check_output
from napari_redenoise.io._own_results import is_own_result
from napari_redenoise.io._program_file import export_model
from napari_redenoise.io._result_arrays import (
    RoundingArray,
    cast_like,
    disk_space_needed,
    explain_full_disk,
    result_array,
    round_to_integers,
    set_results_folder,
)
from napari_redenoise.io._result_files import (
    BRANCHES,
    bytes_needed,
    lack_in_words,
    model_beside,
    result_like,
    result_paths,
    result_type,
    write_result,
)
from napari_redenoise.io._result_format import exceeds_tiff
from napari_redenoise.io._safe_writing import (
    check_folder,
    check_place,
    check_space,
    format_bytes,
    refuse_existing,
    restored_after_errors,
    write_atomically,
    write_under_free_name,
)
from napari_redenoise.io._series_of_array import series_of_array
from napari_redenoise.io._unfinished_run import UnfinishedRun, fingerprint, run_mark
from napari_redenoise.io._units import in_one_unit, unit_symbol
from napari_redenoise.io._zarr_source import is_address, is_store

__all__ = [
    "BRANCHES",
    "RGB",
    "ImageFile",
    "ModelFile",
    "OmeZarrBlocks",
    "OmeZarrStream",
    "RoundingArray",
    "UnfinishedRun",
    "axes_of_file",
    "bytes_needed",
    "cast_like",
    "check_folder",
    "check_output",
    "check_place",
    "check_space",
    "disk_space_needed",
    "exceeds_tiff",
    "explain_full_disk",
    "export_bioimageio",
    "export_model",
    "fingerprint",
    "format_bytes",
    "in_one_unit",
    "inspect_file",
    "is_address",
    "is_own_result",
    "is_store",
    "is_zarr",
    "lack_in_words",
    "load_authors_model",
    "load_model",
    "lost_metadata",
    "model_beside",
    "ome_files",
    "ome_form",
    "ome_of_sizes",
    "ome_zarr_stream",
    "read_image",
    "refuse_existing",
    "restored_after_errors",
    "result_array",
    "result_like",
    "result_paths",
    "result_type",
    "round_to_integers",
    "run_mark",
    "save_model",
    "series_of_array",
    "set_results_folder",
    "unit_symbol",
    "write_atomically",
    "write_ome_zarr",
    "write_result",
    "write_tiff",
    "write_under_free_name",
]
