"""Errors: each message states what happened and what to do."""

from __future__ import annotations


class RedenoiseError(Exception):
    """Base of all errors whose message is shown to a user."""


class InputError(RedenoiseError, ValueError):
    """An image, layer or array that cannot be denoised."""


class ConfigError(RedenoiseError, ValueError):
    """A setting, or a combination of settings, that is invalid."""


class ModelFileError(RedenoiseError):
    """A model file that is missing, damaged, or not of this package."""


class DeviceError(RedenoiseError):
    """A compute device that is unavailable or out of memory."""


class ClusterError(RedenoiseError):
    """A cluster that cannot be reached, or whose workers cannot denoise."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error reports that the memory of a device is exhausted.

    Only CUDA has a class for it. Allocators of CPU and MPS and CUDA libraries use messages.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    bool
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    words = ("can't allocate memory", "not enough memory", "out of memory", "alloc_failed")
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)


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
