"""Files and devices."""

from napari_redenoise.io._devices import available_devices, get_device, training_dtype
from napari_redenoise.io._files import refuse_existing
from napari_redenoise.io._images import ImageFile, check_output, read_image, write_tiff
from napari_redenoise.io._model_file import load_model, save_model

__all__ = [
    "ImageFile",
    "available_devices",
    "check_output",
    "get_device",
    "load_model",
    "read_image",
    "refuse_existing",
    "save_model",
    "training_dtype",
    "write_tiff",
]
