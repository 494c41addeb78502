"""What can go wrong, said in words: what was expected, what was got, what to do."""

from __future__ import annotations


class RedenoiseError(Exception):
    """Base of every error that is shown to a user as one sentence with a remedy."""


class InputError(RedenoiseError, ValueError):
    """An image, layer or array that cannot be denoised."""


class ConfigError(RedenoiseError, ValueError):
    """A setting, or a combination of settings, that makes no sense."""


class ModelFileError(RedenoiseError):
    """A model file that is missing, damaged, or not one of ours."""


class DeviceError(RedenoiseError):
    """A compute device that is not there, or that ran out of memory."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of any device, does not suffice.

    Only CUDA has a class for it; allocators of CPU and MPS and the libraries of CUDA say it in
    words.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    words = ("can't allocate memory", "not enough memory", "out of memory", "alloc_failed")
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)


class OutputError(RedenoiseError):
    """A result that cannot be written without harm, for example over an existing file."""


class NameTakenError(OutputError):
    """A name under which there is a file already."""


class ConversionError(RedenoiseError, ValueError):
    """A network with parts that have no rotation-equivariant counterpart.

    Attributes
    ----------
    problems : tuple of str
        Every such part: name, type, reason and remedy.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        count = "1 part" if len(problems) == 1 else f"{len(problems)} parts"
        super().__init__(f"{count} of the network cannot be converted: " + "; ".join(problems))
