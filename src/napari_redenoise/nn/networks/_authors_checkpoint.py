"""Checkpoints of the authors' published code, loaded into the reference variant.

Their ``state_dict`` depends on the mode: in evaluation mode the equivariant layers also hold their
computed ``filter`` and ``bias``. Both modes are supported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from napari_redenoise.config import NetworkConfig, NetworkKind
from napari_redenoise.errors import ModelFileError
from napari_redenoise.nn.layers._conv import ProjectionConv2d
from napari_redenoise.nn.layers._fourier import FourierConv2d
from napari_redenoise.nn.networks._adarenet import DenoisingNetwork, build_network

LEVELS = 5
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PARALLEL = "module."
_REMEDY = "choose a checkpoint of the published AdaReNet, or of one of its two U-Nets"
# Largest rounding difference between cached and recomputed filters, in half precision.
_CACHE_TOLERANCE = 1e-2


def load_authors_checkpoint(checkpoint: Mapping[str, object]) -> DenoisingNetwork:
    """Build the reference variant with the weights of a checkpoint of the published code.

    Parameters
    ----------
    checkpoint : mapping
        A ``state_dict`` of their AdaReNet, standard U-Net or equivariant U-Net, saved in training
        or evaluation mode, with or without ``DataParallel``. Or a mapping that holds one under
        ``state_dict``, ``model_state_dict`` or ``model``.

    Returns
    -------
    AdaReNet or SingleBranch
        On the CPU, float32, in evaluation mode. For sizes that are multiples of 32 its outputs
        equal those of the published code. Other sizes are padded by reflection on all sides. The
        published code pads at the bottom and on the right, to a square.

    Raises
    ------
    ModelFileError
        When a key is missing, unexpected, or of another shape; names the first one.

    See Also
    --------
    authors_config : The configuration of the network.
    """
    tensors = _state_dict(checkpoint)
    config = _infer_config(tensors)
    network = build_network(config, torch.Generator(), torch.float32)
    remaining = dict(tensors)
    for theirs, ours in _layout(config.kind):
        module = network.get_submodule(ours)
        if isinstance(module, FourierConv2d):
            _fill_fourier(module, remaining, theirs)
        else:
            _fill_standard(module, remaining, theirs)
    if remaining:
        raise ModelFileError(
            f"the checkpoint holds {next(iter(remaining))}, which the published network lacks: "
            f"{_REMEDY}"
        )
    return network.eval()


def authors_config(checkpoint: Mapping[str, object]) -> NetworkConfig:
    """Infer the network of a checkpoint of the published code from its shapes.

    Parameters
    ----------
    checkpoint : mapping
        As in `load_authors_checkpoint`.

    Returns
    -------
    NetworkConfig

    Raises
    ------
    ModelFileError
        When it is not a checkpoint of the published code.
    """
    return _infer_config(_state_dict(checkpoint))


def _state_dict(checkpoint: Mapping[str, object]) -> dict[str, Tensor]:
    """Unwrapped tensors by name, without the prefix of ``DataParallel``."""
    for name in _WRAPPERS:
        inner = checkpoint.get(name)
        if isinstance(inner, Mapping):
            return _state_dict(inner)
    tensors = {str(name): value for name, value in checkpoint.items() if isinstance(value, Tensor)}
    if not tensors or len(tensors) < len(checkpoint):
        raise ModelFileError(f"the checkpoint is not a state_dict of tensors: {_REMEDY}")
    if all(name.startswith(_PARALLEL) for name in tensors):
        tensors = {name.removeprefix(_PARALLEL): value for name, value in tensors.items()}
    return tensors


def _infer_config(tensors: Mapping[str, Tensor]) -> NetworkConfig:
    """Widths, group, kernel and channels from the shapes of the first and of one inner layer."""
    kind = _kind(tensors)
    settings: dict[str, object] = {"kind": kind, "variant": "reference", "levels": LEVELS}
    if kind != "standard":
        prefix = "unet_f." if kind == "adarenet" else ""
        orders = _shape(tensors, f"{prefix}_block1.0.Basis", 4)[2]
        settings["group"] = f"C{orders}"
        names, unit = (f"{prefix}_block1.0.weights", f"{prefix}_block7.0.weights"), orders
        settings["kernel_size"] = _shape(tensors, f"{prefix}_block1.0.Basis", 4)[0]
    if kind != "equivariant":
        prefix = "unet." if kind == "adarenet" else ""
        names, unit = (f"{prefix}_block1.0.weight", f"{prefix}_block7.0.weight"), 1
        settings["kernel_size"] = _shape(tensors, names[0], 4)[3]
    first, inner = (_shape(tensors, name, 4) for name in names)
    settings |= {"encoder_width": first[0] * unit, "decoder_width": inner[0] * unit}
    try:
        return NetworkConfig.model_validate({**settings, "channels": first[1]})
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"]) or "network"
        raise ModelFileError(
            f"the checkpoint's {where} is not supported ({problem['msg']}): {_REMEDY}"
        ) from error


def _kind(tensors: Mapping[str, Tensor]) -> NetworkKind:
    if any(name.startswith(("unet.", "unet_f.")) for name in tensors):
        return "adarenet"
    if "_block1.0.weights" in tensors:
        return "equivariant"
    if "_block1.0.weight" in tensors:
        return "standard"
    raise ModelFileError(
        "the checkpoint has none of the first layers unet._block1.0.weight, _block1.0.weight and "
        f"_block1.0.weights, but {next(iter(tensors))}: {_REMEDY}"
    )


def _shape(tensors: Mapping[str, Tensor], name: str, axes: int) -> tuple[int, ...]:
    if name not in tensors:
        raise ModelFileError(f"the checkpoint has no {name}: {_REMEDY}")
    shape = tuple(tensors[name].shape)
    if len(shape) != axes:
        raise ModelFileError(
            f"{name} of the checkpoint has shape {shape}, expected {axes} axes: {_REMEDY}"
        )
    return shape


def _layout(kind: NetworkKind) -> Iterator[tuple[str, str]]:
    """Yield the name of every convolution in the published network and here."""
    if kind != "adarenet":
        yield from _unet_layout("", "branch.")
        return
    yield from _unet_layout("unet.", "standard_branch.")
    yield from _unet_layout("unet_f.", "equivariant_branch.")
    for place, number in enumerate((1, 2, 3)):
        yield f"mask_network.conv{number}", f"mask_network.{2 * place}"
    for place, number in enumerate((1, 2)):
        yield f"resnet.conv{number}", f"correction_network.{2 * place}"


def _unet_layout(theirs: str, ours: str) -> Iterator[tuple[str, str]]:
    """Blocks 1 to 5 are the encoder, 6 the bottom, 7 to 10 the decoder, 11 the full-size tail."""
    for level in range(LEVELS):
        yield f"{theirs}_block{level + 1}.0", f"{ours}encoder.{level}.0"
        if level == 0:
            yield f"{theirs}_block1.2", f"{ours}encoder.0.2"
    yield f"{theirs}_block{LEVELS + 1}.0", f"{ours}bottom.0"
    for level in range(LEVELS - 1):
        for place in (0, 2):
            yield f"{theirs}_block{LEVELS + 2 + level}.{place}", f"{ours}decoder.{level}.{place}"
    last = f"{theirs}_block{2 * LEVELS + 1}"
    yield from ((f"{last}.0", f"{ours}tail.0"), (f"{last}.2", f"{ours}tail.2"))
    yield f"{last}.4", f"{ours}last"


def _take(remaining: dict[str, Tensor], name: str, expected: tuple[int, ...]) -> Tensor:
    """Remove a tensor of known shape and return it as float32 on the CPU."""
    if name not in remaining:
        raise ModelFileError(f"the checkpoint has no {name}: {_REMEDY}")
    tensor = remaining.pop(name)
    if tuple(tensor.shape) != expected:
        raise ModelFileError(
            f"{name} of the checkpoint has shape {tuple(tensor.shape)}, expected {expected}: "
            f"{_REMEDY}"
        )
    return tensor.detach().to(device="cpu", dtype=torch.float32)


@torch.no_grad()
def _fill_standard(module: nn.Module, remaining: dict[str, Tensor], name: str) -> None:
    for part, value in module.named_parameters():
        value.copy_(_take(remaining, f"{name}.{part}", tuple(value.shape)))


@torch.no_grad()
def _fill_fourier(module: FourierConv2d, remaining: dict[str, Tensor], name: str) -> None:
    orders, functions, _ = module.basis.shape
    k = module.kernel_size
    module.weight.copy_(_take(remaining, f"{name}.weights", tuple(module.weight.shape)))
    if module.bias is not None:
        module.bias.copy_(_take(remaining, f"{name}.c", (1, module.out_fields, 1, 1)).flatten())
    basis = _take(remaining, f"{name}.Basis", (k, k, orders, functions))
    # (k, k, |G|, functions) -> (|G|, functions, k*k)
    module.basis.copy_(basis.permute(2, 3, 0, 1).flatten(2))
    # Their functions have norm 1 before the multiplication by the damping.
    module.damping.copy_(module.basis.square().sum((0, 2)).sqrt())
    _check_cached(module.filters(), remaining, f"{name}.filter")
    bias = module.expanded_bias()
    if bias is not None and not isinstance(module, ProjectionConv2d):
        _check_cached(bias[None, :, None, None], remaining, f"{name}.bias")


def _check_cached(computed: Tensor, remaining: dict[str, Tensor], name: str) -> None:
    """Remove a cached tensor after a comparison with the computed one."""
    if name not in remaining:
        return
    cached = _take(remaining, name, tuple(computed.shape))
    if not (cached - computed).norm() <= _CACHE_TOLERANCE * computed.norm():
        raise ModelFileError(
            f"{name} of the checkpoint does not match its weights: save the checkpoint again, in "
            "training mode"
        )
