"""Errors of the decoders for damaged and unknown files."""

from __future__ import annotations

import struct
import zlib

import tifffile
from PIL import Image

# Headers of damaged files lead to impossible sizes, counts and types.
UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    Image.DecompressionBombError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    tifffile.TiffFileError,
    zlib.error,
)
