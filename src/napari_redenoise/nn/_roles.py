"""What the operations of a traced network mean for representations of a group.

An operation is given a role; whether it can be converted depends on its options, too, and each
refusal is a reason and a remedy in words.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Any

from torch import fx, nn
from torch.nn import functional


class Role(Enum):
    """What an operation does to a feature map of some representation."""

    INPUT = auto()
    OUTPUT = auto()
    CONVOLUTION = auto()
    NORM = auto()
    SLOPE = auto()  # a learned slope per channel
    DROP_CHANNELS = auto()
    DROP_PIXELS = auto()
    KEEP = auto()  # every channel alone, all alike
    COMBINE = auto()  # two feature maps, channel by channel
    CONCATENATE = auto()
    OVER_CHANNELS = auto()  # a symmetric function of all channels
    NUMBER = auto()  # sizes and scalars: no feature map at all
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
SAMPLERS = (nn.Upsample, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
_COMBINATIONS = {"add", "sub", "mul", "div", "truediv", "maximum", "minimum"}
_POINTWISE_NAMES = {
    "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus",
    "softsign", "sigmoid", "logsigmoid", "tanh", "hardswish", "hardsigmoid", "hardtanh", "abs",
    "neg", "exp", "log", "sqrt", "square", "pow", "clamp", "clamp_min", "clamp_max", "clip",
    "contiguous", "clone", "detach", "float", "double", "half", "to", "type_as",
}  # fmt: skip
_SAMPLER_NAMES = {
    "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "interpolate",
    "upsample", "pad",
}  # fmt: skip
_CUTS = {"chunk", "split", "getitem", "unbind", "narrow", "select", "tensor_split"}
_MOVES = {"view", "reshape", "flatten", "permute", "transpose", "unflatten", "rearrange", "roll"}


def name_of(node: fx.Node) -> str:
    """Name of a function or method without underscores: ``add`` for ``operator.iadd``."""
    if callable(node.target):
        found = next((k for k, f in _NAMED.items() if f is node.target), None)
        name = found or str(getattr(node.target, "__name__", ""))
    else:
        name = str(node.target)
    name = name.strip("_")
    return {"iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "truediv"}.get(name, name)


# Their own names are those of a dispatcher.
_NAMED: dict[str, Callable[..., Any]] = {
    "max_pool2d": functional.max_pool2d,
    "adaptive_max_pool2d": functional.adaptive_max_pool2d,
}


def kind_of(node: fx.Node, module: nn.Module | None) -> str:
    """What a user calls the operation."""
    if module is not None:
        return type(module).__name__
    return {"get_attr": "parameter", "placeholder": "input"}.get(node.op, name_of(node))


def module_role(module: nn.Module) -> Role:
    """Role of a layer."""
    table = {
        CONVOLUTIONS: Role.CONVOLUTION,
        NORMS: Role.NORM,
        (nn.PReLU,): Role.SLOPE,
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
    if name in _COMBINATIONS:
        return Role.COMBINE if features == 2 else Role.KEEP
    if name in {"cat", "concat", "concatenate"}:
        return Role.CONCATENATE
    if name in {"dropout2d", "feature_dropout"}:
        return Role.DROP_CHANNELS
    if name == "dropout":
        return Role.DROP_PIXELS
    if name in {"mean", "amax", "amin"}:
        return _reduction_role(node)
    return Role.KEEP if name in _POINTWISE_NAMES | _SAMPLER_NAMES else Role.UNKNOWN


def argument(node: fx.Node, position: int, name: str, default: Any = None) -> Any:
    """Argument of a call, wherever it was given."""
    if name in node.kwargs:
        return node.kwargs[name]
    return node.args[position] if position < len(node.args) else default


def _reduction_role(node: fx.Node) -> Role:
    dims = argument(node, 1, "dim")
    axes = {dims} if isinstance(dims, int) else set(dims or ())
    if argument(node, 2, "keepdim", False) is True:
        if axes in ({1}, {-3}):
            return Role.OVER_CHANNELS
        if axes in ({2, 3}, {-2, -1}):
            return Role.KEEP
    return Role.UNKNOWN


def refusal(node: fx.Node, module: nn.Module | None, role: Role) -> str | None:
    """Why an operation cannot be converted and what to do, or None when its options allow it."""
    if role is Role.UNKNOWN:
        return _unknown(node, module)
    if isinstance(module, POOLS):
        return _pool_refusal(module.kernel_size, module.stride, module.padding,
                             getattr(module, "dilation", 1))  # fmt: skip
    if isinstance(module, PADS):
        return _pad_refusal(module.padding)
    if isinstance(module, nn.Upsample):
        return _sampling_refusal(module.mode, module.scale_factor)
    if module is None and role is Role.KEEP:
        return _function_refusal(node)
    if role is Role.CONCATENATE and argument(node, 1, "dim", 0) not in (1, -3):
        return "joins other axes than channels: concatenate along axis 1"
    if isinstance(module, nn.InstanceNorm2d) and module.track_running_stats:
        return "keeps running statistics of every channel: set track_running_stats=False"
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
        return _sampling_refusal(mode, argument(node, 2, "scale_factor"))
    return None


def samples_centred(size: int, stride: int, padding: int, dilation: int = 1) -> bool:
    """Whether windows lie symmetrically on images whose sides are multiples of the stride."""
    return (2 * padding - dilation * (size - 1) - 1) % stride == 0


def square(value: Any) -> int | None:
    """The number of which an option is made on both axes, or None."""
    values = set(value) if isinstance(value, (tuple, list)) else {value}
    number = values.pop() if len(values) == 1 else None
    return number if isinstance(number, int) else None


def _pool_refusal(kernel: Any, stride: Any, padding: Any, dilation: Any) -> str | None:
    options = [square(o) for o in (kernel, kernel if stride in (None, []) else stride, padding,
                                   dilation)]  # fmt: skip
    if None in options:
        return "treats rows and columns differently: give one number for both"
    if not samples_centred(*options):  # type: ignore[arg-type]
        return (
            "its windows do not lie symmetrically on even sizes: take a kernel that is the stride, "
            "without padding"
        )
    return None


def _pad_refusal(widths: Any) -> str | None:
    values = list(widths) if isinstance(widths, (tuple, list)) else [widths]
    if any(isinstance(value, fx.Node) for value in values):
        return None  # sizes of the image, unknown here
    if len(values) > 4 or len(set(values)) > 1 or len(values) in (2, 3):
        return "pads the sides differently: pad all four by the same"
    return None


def _sampling_refusal(mode: Any, factor: Any) -> str | None:
    factors = factor if isinstance(factor, (tuple, list)) else (factor,)
    if len(set(factors)) > 1:
        return "scales rows and columns differently: give one factor for both"
    known = isinstance(factors[0], (int, float))
    if mode == "nearest" and known and not float(factors[0]).is_integer():
        return "takes pixels off centre: use a whole factor, or mode 'bilinear'"
    return None


def _unknown(node: fx.Node, module: nn.Module | None) -> str:
    name = name_of(node) if module is None else ""
    if node.op == "get_attr":
        return (
            "is a tensor per channel or pixel, such as a positional encoding, which does not turn "
            "with the image: leave it out, or make it a single number"
        )
    if isinstance(module, nn.Linear) or name == "linear":
        return "weighs pixels or channels one by one: use a 1 x 1 convolution"
    if isinstance(module, nn.Flatten) or name in _MOVES:
        return "moves channels or pixels, which would mix orientations: keep (B, C, H, W)"
    if isinstance(module, (nn.PixelShuffle, nn.PixelUnshuffle)) or "shuffle" in name:
        return "turns channels into pixels: use an upsampling or ConvTranspose2d"
    if name in _CUTS:
        return "cuts channels, perhaps within a field: use a convolution for each part"
    if name in {"mean", "amax", "amin"}:
        return "removes axes: reduce the channels or both spatial axes with keepdim=True"
    return (
        "is not known to be equivariant: use convolutions, their norms, pointwise functions, "
        "pooling, upsampling, sums and concatenations"
    )
