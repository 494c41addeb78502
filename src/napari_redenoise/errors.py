"""Errors: each message states what happened and what to do."""

from __future__ import annotations


class RedenoiseError(Exception):
    """Base of all errors whose message is shown to a user."""


class InputError(RedenoiseError, ValueError):
    """An image, layer or array that cannot be denoised."""


class ConfigError(RedenoiseError, ValueError):
    """A setting, or a combination of settings, that is invalid."""


_LARGEST_SCALE = 1e35
"""Grey levels; float32, the type of results, ends at 3.4e38."""


def check_grey_scale(level: float, std: float) -> None:
    """Refuse grey levels whose differences cannot be computed with.

    Parameters
    ----------
    level : float
        Largest absolute grey level; extreme pixels left out.
    std : float
        Standard deviation.

    Raises
    ------
    InputError
        When float64 does not resolve the differences, or float32 does not hold them.
    """
    # The gap between float64 numbers at this level.
    gap = abs(level) * 2.0**-52
    if not (max(4 * gap, 1 / _LARGEST_SCALE) < std < _LARGEST_SCALE):
        raise InputError(
            f"grey levels of about {level:.3g} that vary by {std:.2g} cannot be computed with: "
            "subtract an offset, or rescale them"
        )


class ModelFileError(RedenoiseError):
    """A model file that is missing, damaged, or not of this package."""


class DeviceError(RedenoiseError):
    """A compute device that is unavailable or out of memory."""


class ClusterError(RedenoiseError):
    """A cluster that cannot be reached, or whose workers cannot denoise."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error reports that the memory of a device is exhausted.

    Only CUDA has a class for it. Allocators of CPU and MPS and CUDA libraries use messages.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    words = ("can't allocate memory", "not enough memory", "out of memory", "alloc_failed")
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)


def error_text(error: BaseException) -> str:
    """Text of an error, or the name of its class where it has none or only a mapping's key."""
    text = "" if isinstance(error, KeyError) else str(error).strip()
    return text or type(error).__name__


class OutputError(RedenoiseError):
    """A result that cannot be written, for example because its file exists."""


class NameTakenError(OutputError):
    """A file name that is already taken."""


class ConversionError(RedenoiseError, ValueError):
    """A network with parts that have no rotation-equivariant counterpart.

    Attributes
    ----------
    problems : tuple of str
        Name, type, reason and remedy of every such part.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        count = "1 part" if len(problems) == 1 else f"{len(problems)} parts"
        super().__init__(f"{count} of the network cannot be converted: " + "; ".join(problems))
