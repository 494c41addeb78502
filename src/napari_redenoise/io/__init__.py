"""Files and devices."""

from napari_redenoise.errors import is_out_of_memory
from napari_redenoise.io._arrays import (
    disk_in_words,
    in_type_of,
    keep_results_in,
    result_array,
    rounded,
    temporary_space,
)
from napari_redenoise.io._authors_file import load_authors_model
from napari_redenoise.io._devices import (
    available_devices,
    get_device,
    memory_in_words,
    training_dtype,
)
from napari_redenoise.io._files import (
    check_folder,
    check_space,
    refuse_existing,
    under_free_name,
    whole_file,
)
from napari_redenoise.io._images import (
    ImageFile,
    check_output,
    left_out,
    read_image,
    write_tiff,
)
from napari_redenoise.io._model_file import check_model, load_model, save_model
from napari_redenoise.io._plain_file import check_program, export_model
from napari_redenoise.io._state_file import load_state, save_state
from napari_redenoise.io._trial import refused_devices

__all__ = [
    "ImageFile",
    "available_devices",
    "check_folder",
    "check_model",
    "check_output",
    "check_program",
    "check_space",
    "disk_in_words",
    "export_model",
    "get_device",
    "in_type_of",
    "is_out_of_memory",
    "keep_results_in",
    "left_out",
    "load_authors_model",
    "load_model",
    "load_state",
    "memory_in_words",
    "read_image",
    "refuse_existing",
    "refused_devices",
    "result_array",
    "rounded",
    "save_model",
    "save_state",
    "temporary_space",
    "training_dtype",
    "under_free_name",
    "whole_file",
    "write_tiff",
]
