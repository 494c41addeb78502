"""Roles of the operations of a traced network in the propagation of representations.

Whether an operation can be converted depends on its role and its options. A refusal consists of a
reason and a remedy.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Any

from torch import fx, nn
from torch.nn import functional

from napari_redenoise.nn.layers._fields import FieldAffine


class Role(Enum):
    """Effect of an operation on feature maps."""

    INPUT = auto()
    OUTPUT = auto()
    CONVOLUTION = auto()
    NORM = auto()
    SLOPE = auto()  # a learned slope per channel
    SCALE = auto()  # a learned factor per channel
    DROP_CHANNELS = auto()
    DROP_PIXELS = auto()
    KEEP = auto()  # every channel alone, all in the same way
    COMBINE = auto()  # two feature maps, channel by channel
    CONCATENATE = auto()
    OVER_CHANNELS = auto()  # a symmetric function of all channels
    NUMBER = auto()  # sizes and scalars
    UNKNOWN = auto()


CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
NORMS = (nn.BatchNorm2d, nn.InstanceNorm2d, nn.GroupNorm)
POOLS = (nn.MaxPool2d, nn.AvgPool2d)
PADS = (nn.ZeroPad2d, nn.ConstantPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d, nn.CircularPad2d)
POINTWISE = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Softplus, nn.Softsign, nn.Sigmoid, nn.LogSigmoid, nn.Tanh, nn.Hardswish, nn.Hardsigmoid,
    nn.Hardtanh, nn.Identity,
)  # fmt: skip
ADAPTIVE_POOLS = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
SAMPLERS = (nn.Upsample, *ADAPTIVE_POOLS)
COMBINATIONS = {"add", "sub", "mul", "div", "truediv", "maximum", "minimum"}
# Functions of a map and numbers, or of several maps pixel by pixel.
_OF_SEVERAL = {"pow", "clamp", "clamp_min", "clamp_max", "clip"}
_POINTWISE_NAMES = {
    "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus",
    "softsign", "sigmoid", "logsigmoid", "tanh", "hardswish", "hardsigmoid", "hardtanh", "abs",
    "neg", "exp", "log", "sqrt", "square", "contiguous", "clone", "detach", "float", "double",
    "half", "to", "type_as",
}  # fmt: skip
UPSAMPLINGS = {"interpolate", "upsample"}
NEAREST = ("nearest", "nearest-exact")
SIZED_NAMES = {"adaptive_avg_pool2d", "adaptive_max_pool2d", "pad"} | UPSAMPLINGS
_SAMPLER_NAMES = {"max_pool2d", "avg_pool2d"} | SIZED_NAMES
_CUTS = {"chunk", "split", "getitem", "unbind", "narrow", "select", "tensor_split"}
_CROP = "crop the same number of pixels on all four sides, x[..., 1:-1, 1:-1]"
OFF_CENTRE = (
    "samples pixels off centre, or some more often than others: upsample by an integer factor, "
    "or use mode 'bilinear'"
)
FIXED_SHAPE = "has a shape that does not rotate with the image: give one size for both sides"
SHUFFLES = ("pixel_shuffle", "pixel_unshuffle")
SHUFFLED = (
    "moves channels into pixels or back, which is exact next to a convolution only: put a plain "
    "one before PixelShuffle, after PixelUnshuffle, or use nearest upsampling and a convolution, "
    "or ConvTranspose2d"
)
UNEVEN_PAD = "pads the sides differently: pad all four by the same"
OF_ONE_SIDE = (
    "uses the length of one side of the image, which changes with a rotation: use both sides in "
    "the same way, or a fixed number"
)
UNKNOWN_SIZE = "has an unknown size: compute it from the shape of the image or of a feature map"
_MOVES = {
    "view",
    "reshape",
    "flatten",
    "permute",
    "transpose",
    "unflatten",
    "rearrange",
    "roll",
    "channel_shuffle",
}


def name_of(node: fx.Node) -> str:
    """Name of a function or method without underscores: ``add`` for ``operator.iadd``."""
    if callable(node.target):
        found = next((k for k, f in _NAMED.items() if f is node.target), None)
        name = found or str(getattr(node.target, "__name__", ""))
    else:
        name = str(node.target)
    name = name.strip("_")
    return {"iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "truediv"}.get(name, name)


# Their __name__ is that of a dispatcher.
_NAMED: dict[str, Callable[..., Any]] = {
    "max_pool2d": functional.max_pool2d,
    "adaptive_max_pool2d": functional.adaptive_max_pool2d,
}


def kind_of(node: fx.Node, module: nn.Module | None) -> str:
    """Name of the type of an operation, for messages."""
    if module is not None:
        return type(module).__name__
    return {"get_attr": "parameter", "placeholder": "input"}.get(node.op, name_of(node))


def module_role(module: nn.Module) -> Role:
    """Role of a layer."""
    table = {
        CONVOLUTIONS: Role.CONVOLUTION,
        NORMS: Role.NORM,
        (nn.PReLU,): Role.SLOPE,
        (FieldAffine,): Role.SCALE,
        (nn.Dropout2d,): Role.DROP_CHANNELS,
        (nn.Dropout,): Role.DROP_PIXELS,
        POINTWISE + POOLS + PADS + SAMPLERS: Role.KEEP,
    }
    return next((role for types, role in table.items() if isinstance(module, types)), Role.UNKNOWN)


def function_role(node: fx.Node, features: int) -> Role:
    """Role of a function or method called with a number of feature maps."""
    name = name_of(node)
    if features == 0:
        plain = getattr(node.target, "__module__", "") in {"_operator", "builtins", "math"}
        return Role.NUMBER if plain else Role.UNKNOWN
    if name in {"size", "dim"} or (name == "getattr" and node.args[1] in {"shape", "ndim"}):
        return Role.NUMBER
    if name in COMBINATIONS | _OF_SEVERAL:
        return Role.COMBINE if features > 1 else Role.KEEP
    if name in {"cat", "concat", "concatenate"}:
        return Role.CONCATENATE
    if name in {"dropout2d", "feature_dropout"}:
        return Role.DROP_CHANNELS
    if name == "dropout":
        return Role.DROP_PIXELS
    if name in {"mean", "amax", "amin"}:
        return _reduction_role(node)
    if name == "getitem" and _is_symmetric_crop(node):
        return Role.KEEP
    known = name in _POINTWISE_NAMES | _SAMPLER_NAMES and features == 1
    return Role.KEEP if known else Role.UNKNOWN


def is_pointwise(node: fx.Node) -> bool:
    """Whether a function or method acts on every pixel of one feature map alone."""
    known = node.op in ("call_function", "call_method") and name_of(node) in _POINTWISE_NAMES
    return known and len(node.all_input_nodes) == 1


def argument(call: Any, position: int, name: str, default: Any = None) -> Any:
    """Argument of a node, or of another call with ``args`` and ``kwargs``."""
    if name in call.kwargs:
        return call.kwargs[name]
    return call.args[position] if position < len(call.args) else default


def _reduction_role(node: fx.Node) -> Role:
    dims = argument(node, 1, "dim")
    axes = {dims} if isinstance(dims, int) else set(dims or ())
    if argument(node, 2, "keepdim", False) is True:
        if axes in ({1}, {-3}):
            return Role.OVER_CHANNELS
        if axes in ({2, 3}, {-2, -1}):
            return Role.KEEP
    return Role.UNKNOWN


def _spatial_index(node: fx.Node) -> tuple[Any, Any] | None:
    """Rows and columns of an index; None if it selects channels."""
    index = argument(node, 1, "index")
    parts = list(index) if isinstance(index, tuple) else [index]
    place = parts.index(...) if ... in parts else len(parts)
    given = len(parts) - (... in parts)
    parts[place : place + 1] = [slice(None)] * (4 - given)
    if len(parts) != 4 or parts[:2] != [slice(None)] * 2:
        return None
    return parts[2], parts[3]


def _is_symmetric_crop(node: fx.Node) -> bool:
    """Whether an index only crops the same number of pixels on all four sides."""
    cut = _spatial_index(node)
    if cut is None or cut[0] != cut[1] or not isinstance(cut[0], slice):
        return False
    start, stop, step = cut[0].start, cut[0].stop, cut[0].step
    if step not in (None, 1) or start in (None, 0):
        return step in (None, 1) and stop is None
    return isinstance(start, int) and isinstance(stop, int) and start == -stop > 0


def is_fractional(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether a map is resampled by a factor that is not an integer."""
    factor: Any
    if isinstance(module, nn.Upsample):
        factor = module.scale_factor
    elif module is None and name_of(node) == "interpolate":
        factor = argument(node, 2, "scale_factor")
    else:
        return False
    factors = factor if isinstance(factor, (tuple, list)) else (factor,)
    return any(isinstance(f, fx.Node) or (f is not None and f != int(f)) for f in factors)


def refusal(node: fx.Node, module: nn.Module | None, role: Role) -> str | None:
    """Reason and remedy for an operation that cannot be converted, or None if it can."""
    if role is Role.UNKNOWN:
        return _unknown(node, module)
    if isinstance(module, POOLS):
        return _pool_refusal(module.kernel_size, module.stride, module.padding,
                             getattr(module, "dilation", 1))  # fmt: skip
    if isinstance(module, nn.ConvTranspose2d) and argument(node, 1, "output_size") is not None:
        return "has an output size, so it adds pixels on one side only: use kernel 2 or 4"
    if isinstance(module, PADS):
        return _pad_refusal(module.padding)
    if isinstance(module, nn.Upsample):
        return _sampling_refusal(module.mode, module.size, module.scale_factor)
    if isinstance(module, ADAPTIVE_POOLS):
        return _size_refusal(module.output_size)
    if module is None and role is Role.KEEP:
        return _function_refusal(node)
    if role is Role.CONCATENATE and argument(node, 1, "dim", 0) not in (1, -3):
        return "joins other axes than channels: concatenate along axis 1"
    if isinstance(module, nn.InstanceNorm2d) and module.track_running_stats:
        return "tracks running statistics of every channel: set track_running_stats=False"
    return None


def _function_refusal(node: fx.Node) -> str | None:
    name = name_of(node)
    if name in {"max_pool2d", "avg_pool2d"}:
        kernel = argument(node, 1, "kernel_size")
        stride = argument(node, 2, "stride")
        dilation = argument(node, 4, "dilation", 1) if name == "max_pool2d" else 1
        return _pool_refusal(kernel, stride, argument(node, 3, "padding", 0), dilation)
    if name == "pad":
        return _pad_refusal(argument(node, 1, "pad"))
    if name in {"interpolate", "upsample"}:
        mode = argument(node, 3, "mode", "nearest")
        factor = argument(node, 2, "scale_factor")
        return _sampling_refusal(mode, argument(node, 1, "size"), factor)
    if name in {"adaptive_avg_pool2d", "adaptive_max_pool2d"}:
        return _size_refusal(argument(node, 1, "output_size"))
    return None


def is_sampling_centred(size: int, stride: int, padding: int, dilation: int = 1) -> bool:
    """Whether windows are symmetric on images whose sides are multiples of the stride."""
    return (2 * padding - dilation * (size - 1) - 1) % stride == 0


def square(value: Any) -> int | None:
    """The value of an option if it is the same on both axes, or None."""
    values = set(value) if isinstance(value, (tuple, list)) else {value}
    number = values.pop() if len(values) == 1 else None
    return number if isinstance(number, int) else None


def padding_of(module: Any) -> int | None:
    """Padding of a convolution, or None if the sides differ."""
    if module.padding == "valid":
        return 0
    if module.padding == "same":
        kernel, dilation = square(module.kernel_size), square(module.dilation)
        total = -1 if kernel is None or dilation is None else dilation * (kernel - 1)
        return None if total % 2 else total // 2
    return square(module.padding)


def _pool_refusal(kernel: Any, stride: Any, padding: Any, dilation: Any) -> str | None:
    options = [square(o) for o in (kernel, kernel if stride in (None, []) else stride, padding,
                                   dilation)]  # fmt: skip
    if None in options:
        return "treats rows and columns differently: give one number for both"
    if not is_sampling_centred(*options):  # type: ignore[arg-type]
        return (
            "its windows are not symmetric on even sizes: use a kernel equal to the stride, "
            "without padding"
        )
    return None


def _pad_refusal(widths: Any) -> str | None:
    values = list(widths) if isinstance(widths, (tuple, list)) else [widths]
    if any(isinstance(value, fx.Node) for value in values):
        return None  # computed from the image, see `_sizes`
    if len(values) > 4 or len(set(values)) > 1 or len(values) in (2, 3):
        return UNEVEN_PAD
    return None


def _size_refusal(size: Any) -> str | None:
    sides = size if isinstance(size, (tuple, list)) else (size,)
    if all(isinstance(side, fx.Node) for side in sides):
        return None  # computed from the image, see `_sizes`
    if len(set(sides)) > 1:
        return FIXED_SHAPE
    return None


def _sampling_refusal(mode: Any, size: Any, factor: Any) -> str | None:
    if (reason := _size_refusal(size)) is not None:
        return reason
    factors = factor if isinstance(factor, (tuple, list)) else (factor,)
    if len(set(factors)) > 1:
        return "scales rows and columns differently: give one factor for both"
    if mode not in NEAREST:
        return None
    known = isinstance(factors[0], (int, float))
    if known and not float(factors[0]).is_integer():
        return OFF_CENTRE
    sides = size if isinstance(size, (tuple, list)) else (size,)
    if any(isinstance(side, int) for side in sides):
        return (
            "samples pixels off centre unless the sides of the image divide the size: use an "
            "integer factor, or mode 'bilinear'"
        )
    return None


def _unknown(node: fx.Node, module: nn.Module | None) -> str:
    name = name_of(node) if module is None else ""
    if node.op == "get_attr":
        return (
            "is a tensor per channel or pixel, such as a positional encoding, which does not "
            "rotate with the image: remove it, use a single number, or normalise outside"
        )
    if isinstance(module, nn.Linear) or name == "linear":
        return "has a weight for every pixel or channel: use a 1 x 1 convolution"
    if isinstance(module, (nn.Flatten, nn.ChannelShuffle)) or name in _MOVES:
        return (
            "moves channels or pixels, which would mix orientations: keep (B, C, H, W), or use "
            "only LayerNorm, Linear and pointwise functions between permute(0, 2, 3, 1) and its "
            "inverse"
        )
    if isinstance(module, (nn.PixelShuffle, nn.PixelUnshuffle)) or name in SHUFFLES:
        return SHUFFLED
    if name in _CUTS and _is_spatial_cut(node):
        return f"crops rows and columns asymmetrically: {_CROP}"
    if name in _CUTS:
        return "splits channels, possibly within a field: use a convolution for each part"
    if name in {"mean", "amax", "amin"}:
        return "removes axes: reduce the channels or both spatial axes with keepdim=True"
    if name in _POINTWISE_NAMES | _SAMPLER_NAMES:
        return (
            "takes a second feature map, possibly of another representation: give a number or dtype"
        )
    return (
        "is not known to be equivariant: use convolutions, their norms, pointwise functions, "
        "pooling, upsampling, sums and concatenations"
    )


def _is_spatial_cut(node: fx.Node) -> bool:
    """Whether an operation selects rows or columns, and no channels."""
    name = name_of(node)
    if name == "getitem":
        return _spatial_index(node) is not None
    position = {"chunk": 2, "split": 2, "tensor_split": 2}.get(name, 1)
    return argument(node, position, "dim", 0) in (2, 3, -1, -2)
