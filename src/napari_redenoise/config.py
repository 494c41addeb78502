"""Frozen settings: one model is the form, the command line, the JSON and the file header.

Every class is immutable, validated once, and refuses unknown fields, so a typing error in a JSON
file is reported and not ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from napari_redenoise.errors import ConfigError

NetworkKind = Literal["adarenet", "equivariant", "standard"]
NetworkVariant = Literal["default", "reference"]
TrainedObjective = Literal["noise2self", "noise2void", "noise2noise", "r2r", "neighbor2neighbor"]
ObjectiveKind = Literal["auto", TrainedObjective]

Lines = Literal["none", "rows", "columns", "both"]
"""Which lines of a plane have offsets of their own."""

Start = Literal["pretrained", "random"]
"""Weights that a training begins with."""

NoiseKind = Literal["gaussian", "poisson", "poisson-gaussian"]

DEFAULT_STEPS = {"pretrained": 100, "random": 270}

DEFAULT_PATCHES = {"pretrained": (4, 96), "random": (8, 64)}
"""Patches per step and their side: a network that knows images gains by seeing more around."""

MAX_MIRRORED_PIXELS = 2**22
"""Pixels; 16 planes of 512 x 512. Mirror images are worth 0.03 dB: not the wait for a long stack's.
"""

MASK_SHAPES = {"pixel": ("1",), "horizontal": ("1" * 9,), "vertical": ("1",) * 9}
"""Mask shapes that have a name."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError(": ".join(filter(None, _first(error)))) from error

    # Sections of a whole are validated as parts of it: the error tells the whole path.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]


class JsonDataclass:
    """Base of dataclasses that are stored as JSON without the loss of a digit."""

    __pydantic_config__ = ConfigDict(ser_json_inf_nan="strings")

    def as_json(self) -> dict[str, Any]:
        """Convert to plain values; infinite numbers and NaN become words.

        Returns
        -------
        dict
        """
        return dict(json.loads(TypeAdapter(type(self)).dump_json(self)))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Make an object from what `as_json` returned.

        Parameters
        ----------
        values : mapping

        Returns
        -------
        object of this class

        Raises
        ------
        ValueError
            When a value is missing or has the wrong type.
        """
        return TypeAdapter(cls).validate_python(values)


class NetworkConfig(_Frozen):
    """The network that denoises.

    ``kind`` is ``adarenet`` (a standard and an equivariant U-Net fused by a learned mask),
    ``equivariant`` or ``standard`` (one of the two branches alone). ``variant`` ``reference`` is
    the network as the method's authors published it: see docs/published-code.md.
    """

    kind: NetworkKind = Field("adarenet", description="both branches fused by a mask, or one alone")
    variant: NetworkVariant = Field("default", description="reference: as the authors published it")
    group: str = Field("C4", description="symmetry group: C4, C8, ... or D4, D8, ...")
    channels: int = Field(1, ge=1, le=16, description="channels of the image (1 grey, 3 RGB)")
    kernel_size: Literal[3, 5, 7] = Field(3, description="side of the filters in pixels")
    levels: int = Field(5, ge=1, le=6, description="number of 2x poolings")
    encoder_width: int = Field(48, ge=1, description="channels of the feature maps on the way down")
    decoder_width: int = Field(96, ge=1, description="channels of the feature maps on the way up")

    @model_validator(mode="after")
    def _group_is_known(self) -> NetworkConfig:
        if not re.fullmatch(r"[CD][1-9]\d?", self.group):
            raise ValueError(f"group {self.group!r} is unknown: give C4, C8, D4, ...")
        return self


class NoiseConfig(_Frozen):
    """Noise of a camera, in grey levels: ``variance(m) = gain * (m - offset) + read_noise**2``.

    One value for all channels, or one per channel. A gain of 0 is purely Gaussian noise, with the
    standard deviation ``read_noise``; a ``read_noise`` of 0 purely photon noise. ``skewed`` is
    how much of the variance ``read_noise**2`` is as skewed as photon noise, 0 to 1: 0 for what a
    camera's electronics make, 1 where it is light of a background.
    """

    gain: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] = Field(
        (0.0,), description="grey levels per photon"
    )
    offset: tuple[Annotated[float, Field(allow_inf_nan=False)], ...] = Field(
        (0.0,), description="grey level of no signal"
    )
    read_noise: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] = Field(
        (0.0,), description="standard deviation, in grey levels"
    )
    skewed: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
        (0.0,), description="share of the read noise's variance that is as skewed as photon noise"
    )

    @model_validator(mode="after")
    def _there_is_noise(self) -> NoiseConfig:
        figures = (self.gain, self.offset, self.read_noise, self.skewed)
        sizes = set(map(len, figures)) - {1}
        if len(sizes) > 1 or 0 in sizes:
            raise ValueError("give one gain, offset and read noise, or one of each per channel")
        if not any(self.gain) and not any(self.read_noise):
            raise ValueError("gain and read noise are both 0: one of them must be positive")
        return self

    def scaled(self, factor: float) -> NoiseConfig:
        """The same noise where grey levels are so many times as large."""
        gain, offset, read_noise = (
            tuple(factor * value for value in values)
            for values in (self.gain, self.offset, self.read_noise)
        )
        return NoiseConfig(gain=gain, offset=offset, read_noise=read_noise, skewed=self.skewed)


class ObjectiveConfig(_Frozen):
    """The objective: how a network learns from noisy pixels alone.

    ``auto`` measures the noise and takes the objective that suits it: Noise2Void with a blind spot
    as large as the noise is correlated; for white noise R2R to fine-tune pretrained weights if the
    noise is known, else Noise2Self.
    ``mask_shape`` draws the blind spot of Noise2Void in rows of 0 and 1, its centre in the
    middle: ``("1",)`` one pixel, ``("11111",)`` a horizontal bar. ``noise`` is what R2R draws
    from; ``None`` estimates it from the image. ``lines`` ``auto`` corrects the line offsets that
    are found where the noise is measured, and none where it is not.
    """

    kind: ObjectiveKind = Field("auto", description="auto: what suits the measured noise")
    spacing: int = Field(4, ge=2, le=16, description="Noise2Self: one pixel in spacing^2 is masked")
    masked_fraction: float = Field(0.08, gt=0, le=0.5, description="Noise2Void: share masked")
    window: int = Field(5, ge=3, le=15, description="Noise2Void: width of the neighbourhood")
    replacement: Literal["uniform", "median"] = Field(
        "uniform", description="Noise2Void: a random neighbour, or the median of the neighbours"
    )
    mask_shape: tuple[str, ...] = Field(("1",), description="Noise2Void: what is masked together")
    noise: NoiseConfig | None = Field(None, description="R2R: gain, offset and read noise")
    recorruption: float = Field(0.5, gt=0, le=4, description="R2R: share of the noise added")
    draws: int = Field(8, ge=1, le=64, description="R2R: noise draws that a prediction averages")
    lines: Literal["auto"] | Lines = Field(
        "auto", description="line correction: offsets of these are subtracted"
    )
    regularisation: float = Field(
        2.0, ge=0, description="Neighbor2Neighbor: weight of the regulariser at the last step"
    )

    @property
    def depends_on_noise(self) -> bool:
        """Whether something of it follows from the noise of the image."""
        return self.kind == "auto" or (self.kind == "r2r" and self.noise is None)

    @model_validator(mode="after")
    def _mask_shape_is_a_drawing(self) -> ObjectiveConfig:
        rows = self.mask_shape
        sides = {len(row) for row in rows}
        drawn = len(rows) % 2 == 1 and len(sides) == 1 and min(sides) % 2 == 1
        if not drawn or set("".join(rows)) - {"0", "1"}:
            raise ValueError(
                "the mask shape needs an odd number of rows, of one odd length, of 0 and 1"
            )
        if rows[len(rows) // 2][len(rows[0]) // 2] != "1":
            raise ValueError("the mask shape needs a 1 in its middle: the pixel itself")
        if max(len(rows), *sides) > 31:
            raise ValueError("the mask shape is at most 31 pixels long")
        if self.kind != "noise2void" and rows != ("1",):
            raise ValueError("only noise2void has a mask shape: choose it as the objective")
        if self.kind != "r2r" and self.noise is not None:
            raise ValueError("only r2r draws from the noise: choose it as the objective")
        return self


class TrainingConfig(_Frozen):
    """How the network is trained.

    ``start`` ``pretrained`` fine-tunes the weights that come with the package, where there are such
    for the network; ``random`` trains from scratch. ``steps`` ``None``
    takes the number that suits the start, and so do ``batch_size`` and ``patch_size``; with 0 steps
    the pretrained weights stay as they are.
    ``learning_rate`` ``None`` takes the best measured rate of the network kind, or of fine-tuning;
    ``precision`` ``auto`` uses bfloat16 autocast where the device computes it faster than float32.
    """

    start: Start = Field("pretrained", description="weights that the training begins with")
    steps: int | None = Field(
        None, ge=0, description="training steps; default 100, from random weights 270"
    )
    batch_size: int | None = Field(
        None, ge=1, description="patches per step; default 4, from random weights 8"
    )
    patch_size: int | None = Field(
        None, ge=8, description="side of a patch in pixels; default 96, from random weights 64"
    )
    learning_rate: float | None = Field(
        None, gt=0, description="before it falls; default the best measured one"
    )
    warmup_steps: int = Field(30, ge=0, description="steps over which the learning rate rises")
    ema_decay: float = Field(0.98, ge=0, lt=1, description="of the moving average of the weights")
    clip_norm: float = Field(1.0, gt=0, description="largest norm of the gradient")
    loss: Literal["l2", "l1"] = Field("l2", description="squared or absolute error")
    branch_weight: float = Field(0.1, ge=0, description="weight of each branch's loss (AdaReNet)")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 where the device computes it faster"
    )
    seed: Annotated[int, Field(ge=0)] = Field(0, description="of everything random")

    @property
    def total_steps(self) -> int:
        """Steps of a run: those that were asked for, or those that suit the start."""
        return DEFAULT_STEPS[self.start] if self.steps is None else self.steps

    @property
    def patches_per_step(self) -> int:
        """Those that were asked for, or those that suit the start."""
        return self.batch_size or DEFAULT_PATCHES[self.start][0]

    @property
    def patch_side(self) -> int:
        """In pixels: what was asked for, or what suits the start."""
        return self.patch_size or DEFAULT_PATCHES[self.start][1]


class TilingConfig(_Frozen):
    """How images are predicted: in tiles of ``tile`` pixels with a halo.

    ``halo`` ``None`` takes the receptive field's radius, with which tiled and whole prediction
    agree. ``mirrored`` averages what the network makes of the image and of its mirror image,
    which takes twice as long; ``None`` does so for images that are denoised in a moment, see
    `mirrors`.
    """

    tile: int = Field(1024, ge=64, description="side of a tile in pixels")
    halo: int | None = Field(
        None, ge=0, description="margin of a tile in pixels; default the receptive field's radius"
    )
    mirrored: bool | None = Field(
        None, description="test-time augmentation; default up to 4 million pixels"
    )

    def mirrors(self, pixels: int) -> bool:
        """Whether an image of so many pixels, all planes together, is also shown mirrored."""
        return pixels <= MAX_MIRRORED_PIXELS if self.mirrored is None else self.mirrored


class FolderConfig(_Frozen):
    """How a network is trained on a folder of clean images, as in the paper: noise is added.

    Grey levels are counted from 0 to 255, whatever the files hold. ``noise_param`` is the UPPER
    END of a level that is drawn uniformly for every image: the standard deviation of Gaussian
    noise, the gain (grey levels per photon) of photon noise, or both at once.
    ``valid_noise_param`` is the level of validation, the same for all images; ``None`` takes
    the middle of the training's.
    """

    epochs: int = Field(40, ge=1)
    train_size: int = Field(50000, ge=1, description="at most so many images of the folder")
    valid_size: int = Field(24, ge=1, description="at most so many images of the folder")
    noise_type: NoiseKind = "gaussian"
    noise_param: float = Field(50.0, gt=0, le=255)
    valid_noise_param: float | None = Field(None, gt=0, le=255)
    clean_targets: bool = False
    subfolders: bool = Field(False, description="whether images in subfolders are taken, too")

    @property
    def valid_level(self) -> float:
        """Noise level of validation."""
        return self.valid_noise_param or self.noise_param / 2


class Config(_Frozen):
    """Everything that determines a run, apart from the pixels and the device."""

    version: Literal[1] = 1
    network: NetworkConfig = NetworkConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    training: TrainingConfig = TrainingConfig()
    tiling: TilingConfig = TilingConfig()

    @classmethod
    def from_json(cls, text: str) -> Config:
        """Read a configuration.

        Parameters
        ----------
        text : str
            JSON, as ``model_dump_json()`` writes it.

        Returns
        -------
        Config

        Raises
        ------
        ConfigError
            With the field and the reason, when the text is not a valid configuration.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            where, what = _first(error)
            raise ConfigError(
                f"the configuration is not valid at {where or 'the text'}: {what}; correct or "
                "remove it"
            ) from error

    def replace(self, changes: Mapping[str, object]) -> Self:
        """Return a copy with dotted fields changed.

        Parameters
        ----------
        changes : mapping
            Values by dotted field.

        Returns
        -------
        Config

        Raises
        ------
        ConfigError
            When a field is unknown or its value not allowed.

        Examples
        --------
        >>> Config().replace({"training.steps": 100}).training.steps
        100
        """
        data = self.model_dump()
        for dotted, value in changes.items():
            target = data
            *path, last = dotted.split(".")
            for part in path:
                target = target.setdefault(part, {})
                if not isinstance(target, dict):
                    raise ConfigError(f"{dotted}: {part} has no fields of its own")
            target[last] = value
        return type(self)(**data)


def _first(error: ValidationError) -> tuple[str, str]:
    """Where the first mistake is, dotted, and what it is."""
    first = error.errors()[0]
    return ".".join(str(part) for part in first["loc"]), first["msg"].removeprefix("Value error, ")
