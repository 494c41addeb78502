"""Settings, shared by the form, the command line, JSON and model files.

Every class is immutable, validated once, and refuses unknown fields, such as typing errors in JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from napari_redenoise.errors import ConfigError

NetworkKind = Literal["adarenet", "equivariant", "standard"]
ChannelMode = Literal["auto", "separate", "together"]
NetworkVariant = Literal["default", "reference"]
TrainedObjective = Literal["noise2self", "noise2void", "noise2noise", "r2r", "neighbor2neighbor"]
ObjectiveKind = Literal["auto", TrainedObjective]

Lines = Literal["none", "rows", "columns", "both"]
"""Lines of a plane that have offsets."""

Start = Literal["pretrained", "random"]
"""Weights that a training starts from."""

Precision = Literal["auto", "float32", "bfloat16"]
NoiseKind = Literal["gaussian", "poisson", "poisson-gaussian"]

DEFAULT_STEPS = {"pretrained": 100, "random": 270}

DEFAULT_PATCHES = {"pretrained": (4, 96), "random": (8, 64)}
"""Patches per step and their side: a pretrained network profits from larger surroundings."""

MAX_TTA_PIXELS = 2**22
"""Pixels, 16 planes of 512 x 512, up to which test-time augmentation is worth the time: 0.03 dB."""

MASK_SHAPES = {"pixel": ("1",), "horizontal": ("1" * 9,), "vertical": ("1",) * 9}
"""Mask shapes by name."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError(": ".join(filter(None, _first(error)))) from error

    # Sections are validated as parts of the whole, so that an error holds the whole path.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]


class JsonDataclass:
    """Base of dataclasses that are stored as JSON without the loss of a digit."""

    __pydantic_config__ = ConfigDict(ser_json_inf_nan="strings")

    def as_json(self) -> dict[str, Any]:
        """Convert to plain values; infinite numbers and NaN become words."""
        return dict(json.loads(TypeAdapter(type(self)).dump_json(self)))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Make an object from what `as_json` returned.

        Raises
        ------
        ValueError
            When a value is missing or has the wrong type.
        """
        return TypeAdapter(cls).validate_python(values)


class NetworkConfig(_Frozen):
    """The network that denoises.

    ``kind`` is ``adarenet`` (a standard and an equivariant U-Net, fused by a learned mask),
    ``equivariant`` or ``standard`` (one branch alone). The ``variant`` ``reference`` is the network
    of the authors' published code: see docs/published-code.md.
    """

    kind: NetworkKind = Field("adarenet", description="both branches fused by a mask, or one alone")
    variant: NetworkVariant = Field("default", description="reference: that of the authors' code")
    group: str = Field("C4", description="symmetry group: C4, C8, ... or D4, D8, ...")
    channels: int = Field(1, ge=1, le=16, description="channels of the image (1 grey, 3 RGB)")
    channel_mode: ChannelMode = Field(
        "auto",
        description="separate: the same network denoises each channel by itself; together: one "
        "network mixes them, from random weights; auto: separate where the network is pretrained",
    )
    context: Literal["auto", 0, 1, 2] = Field(
        "auto", description="neighbouring planes or frames seen on either side; 0: none"
    )
    kernel_size: Literal[3, 5, 7] = Field(3, description="side of the filters in pixels")
    levels: int = Field(5, ge=1, le=6, description="number of 2x poolings")
    encoder_width: int = Field(48, ge=1, description="channels of the encoder's feature maps")
    decoder_width: int = Field(96, ge=1, description="channels of the decoder's feature maps")

    @model_validator(mode="after")
    def _group_is_known(self) -> NetworkConfig:
        if not re.fullmatch(r"[CD][1-9]\d?", self.group):
            raise ValueError(f"group {self.group!r} is unknown: give C4, C8, D4, ...")
        return self

    @property
    def is_separate(self) -> bool:
        """Whether each of several channels is denoised by itself."""
        return self.channel_mode == "separate" and self.channels > 1

    @property
    def of_one_channel(self) -> NetworkConfig:
        """The network that denoises a single channel."""
        return self.model_copy(update={"channels": 1, "channel_mode": "auto"})

    @property
    def neighbours(self) -> int:
        """Neighbouring planes that the network sees."""
        return 0 if self.context == "auto" else 2 * self.context

    @property
    def inputs(self) -> int:
        """Channels of what the network is shown: the plane, its neighbours, where these are."""
        return self.channels + self.neighbours * (self.channels + 1)


class NoiseConfig(_Frozen):
    """Noise of a camera, in grey levels: ``variance(m) = gain * (m - offset) + read_noise**2``.

    One value for all channels, or one per channel. A gain of 0 is Gaussian noise with the standard
    deviation ``read_noise``; a ``read_noise`` of 0 is photon noise. ``skewed`` is the share of the
    variance ``read_noise**2`` that is as skewed as photon noise: 0 for the camera's electronics, 1
    for photon noise of a background.
    """

    gain: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] = Field(
        (0.0,), description="grey levels per photon"
    )
    offset: tuple[Annotated[float, Field(allow_inf_nan=False)], ...] = Field(
        (0.0,), description="grey level without signal"
    )
    read_noise: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] = Field(
        (0.0,), description="standard deviation, in grey levels"
    )
    skewed: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
        (0.0,), description="share of the read noise's variance that is as skewed as photon noise"
    )

    @model_validator(mode="after")
    def _there_is_noise(self) -> NoiseConfig:
        sizes = set(map(len, (self.gain, self.offset, self.read_noise, self.skewed))) - {1}
        if len(sizes) > 1 or 0 in sizes:
            raise ValueError("give one gain, offset and read noise, or one of each per channel")
        if not any(self.gain) and not any(self.read_noise):
            raise ValueError("gain and read noise are both 0: one of them must be positive")
        return self

    def scaled(self, factor: float) -> NoiseConfig:
        """Convert the noise to grey levels that are multiplied by a factor."""
        gain, offset, read_noise = (
            tuple(factor * value for value in values)
            for values in (self.gain, self.offset, self.read_noise)
        )
        return NoiseConfig(gain=gain, offset=offset, read_noise=read_noise, skewed=self.skewed)


class ObjectiveConfig(_Frozen):
    """The self-supervised objective.

    ``auto`` measures the noise and chooses the objective. Correlated noise needs Noise2Void with a
    blind spot of the correlation length. For white noise it is R2R, if pretrained weights are
    fine-tuned and the noise is known, else Noise2Self.
    ``mask_shape`` draws the blind spot of Noise2Void in rows of 0 and 1 around its centre:
    ``("1",)`` is one pixel, ``("11111",)`` a horizontal bar. ``noise`` is the noise that R2R draws;
    ``None`` estimates it from the image. ``lines`` ``auto`` corrects the measured line offsets, and
    none if the noise is not measured. ``smooth_scales`` is the number of coarser scales at which
    smooth noise is removed first: ``auto`` removes what the pretrained network leaves there.
    """

    kind: ObjectiveKind = Field("auto", description="auto: by the measured noise")
    spacing: int = Field(4, ge=2, le=16, description="Noise2Self: one pixel in spacing^2 is masked")
    masked_fraction: float = Field(0.08, gt=0, le=0.5, description="Noise2Void: share masked")
    window: int = Field(5, ge=3, le=15, description="Noise2Void: width of the neighbourhood")
    replacement: Literal["uniform", "median"] = Field(
        "uniform", description="Noise2Void: a random neighbour, or the median of the neighbours"
    )
    mask_shape: tuple[str, ...] = Field(("1",), description="Noise2Void: pixels masked together")
    noise: NoiseConfig | None = Field(None, description="R2R: gain, offset and read noise")
    recorruption: float = Field(0.5, gt=0, le=4, description="R2R: share of the noise added")
    draws: int = Field(8, ge=1, le=64, description="R2R: noise draws averaged by a prediction")
    lines: Literal["auto"] | Lines = Field("auto", description="lines whose offsets are subtracted")
    smooth_scales: Literal["auto", 0, 1, 2] = Field(
        "auto", description="coarser scales at which smooth noise is removed first"
    )
    regularisation: float = Field(
        2.0, ge=0, description="Neighbor2Neighbor: weight of the regulariser at the last step"
    )

    @property
    def needs_target(self) -> bool:
        """Whether it learns from a second shot."""
        return self.kind == "noise2noise"

    @property
    def sees_neighbours(self) -> bool:
        """Whether neighbouring planes may be shown: not where other frames or pixels teach."""
        return self.kind not in ("noise2noise", "neighbor2neighbor")

    @property
    def draws_noise(self) -> bool:
        """Whether it draws from a noise model."""
        return self.kind == "r2r"

    @property
    def depends_on_noise(self) -> bool:
        """Whether a setting depends on the noise of the image."""
        return self.kind == "auto" or (self.draws_noise and self.noise is None)

    @model_validator(mode="after")
    def _mask_shape_is_valid(self) -> ObjectiveConfig:
        rows = self.mask_shape
        sides = {len(row) for row in rows}
        is_odd = len(rows) % 2 == 1 and len(sides) == 1 and min(sides) % 2 == 1
        if not is_odd or set("".join(rows)) - {"0", "1"}:
            raise ValueError(
                "the mask shape needs an odd number of rows, of one odd length, of 0 and 1"
            )
        if rows[len(rows) // 2][len(rows[0]) // 2] != "1":
            raise ValueError("the mask shape needs a 1 in its middle: the pixel itself")
        if max(len(rows), *sides) > 31:
            raise ValueError("the mask shape is at most 31 pixels long")
        if self.kind != "noise2void" and rows != ("1",):
            raise ValueError("only noise2void has a mask shape: choose it as the objective")
        if self.noise is not None and not self.draws_noise:
            raise ValueError("only r2r draws from the noise: choose it as the objective")
        return self


class TrainingConfig(_Frozen):
    """The training.

    ``start`` ``pretrained`` fine-tunes the package's weights of the network, if any; ``random``
    trains from scratch. The defaults of ``steps``, ``batch_size`` and ``patch_size`` depend on the
    start; with 0 steps the pretrained weights are used unchanged.
    ``learning_rate`` ``None`` is the best measured rate of the network kind, or of fine-tuning.
    ``precision`` ``auto`` uses bfloat16 autocast where it is faster than float32.
    """

    start: Start = Field("pretrained", description="weights that the training starts from")
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
        None, gt=0, description="largest; default the best measured one"
    )
    warmup_steps: int = Field(30, ge=0, description="steps over which the learning rate rises")
    ema_decay: float = Field(0.98, ge=0, lt=1, description="decay of the averaged weights")
    clip_norm: float = Field(1.0, gt=0, description="largest norm of the gradient")
    loss: Literal["l2", "l1"] = Field("l2", description="squared or absolute error")
    branch_weight: float = Field(0.1, ge=0, description="weight of each branch's loss (AdaReNet)")
    precision: Precision = Field("auto", description="auto: bfloat16 where it is faster")
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(0, description="seed of all random numbers")

    @property
    def total_steps(self) -> int:
        """Steps of a run; the default depends on the start."""
        return DEFAULT_STEPS[self.start] if self.steps is None else self.steps

    @property
    def patches_per_step(self) -> int:
        """Patches per step; the default depends on the start."""
        return self.batch_size or DEFAULT_PATCHES[self.start][0]

    @property
    def patch_side(self) -> int:
        """Side of a patch in pixels; the default depends on the start."""
        return self.patch_size or DEFAULT_PATCHES[self.start][1]


class TilingConfig(_Frozen):
    """Prediction in tiles with a halo.

    ``halo`` ``None`` is the receptive field's radius, with which tiled and whole prediction agree.
    ``tta`` is test-time augmentation: it averages the predictions of the image and its flipped
    copy, which takes twice as long. ``None`` does so for small images. ``precision`` ``auto`` uses
    bfloat16 autocast where it is faster; then results depend on the processor in the last digits.
    """

    tile: int = Field(1024, ge=64, description="side of a tile in pixels")
    halo: int | None = Field(
        None, ge=0, description="margin of a tile in pixels; default the receptive field's radius"
    )
    tta: bool | None = Field(
        None, description="test-time augmentation; default up to 4 million pixels"
    )
    precision: Precision = Field("float32", description="auto: bfloat16 where it is faster")

    def uses_tta(self, pixels: int) -> bool:
        """Whether to use test-time augmentation for a number of pixels in all planes."""
        return pixels <= MAX_TTA_PIXELS if self.tta is None else self.tta


class FolderConfig(_Frozen):
    """Training on a folder of clean images, to which noise is added, as in the paper.

    Grey levels are scaled to 0 to 255. ``noise_param`` is the UPPER END of the noise level, which
    is drawn uniformly for every image: the standard deviation of Gaussian noise, the gain (grey
    levels per photon) of photon noise, or both. ``valid_noise_param`` is the level of validation;
    ``None`` is half of ``noise_param``.
    """

    epochs: int = Field(40, ge=1)
    train_size: int = Field(50000, ge=1, description="largest number of images")
    valid_size: int = Field(24, ge=1, description="largest number of images")
    noise_type: NoiseKind = "gaussian"
    noise_param: float = Field(50.0, gt=0, le=255)
    valid_noise_param: float | None = Field(None, gt=0, le=255)
    clean_targets: bool = False
    subfolders: bool = Field(False, description="whether to include images in subfolders")

    @property
    def valid_level(self) -> float:
        """Noise level of the validation."""
        return self.valid_noise_param or self.noise_param / 2


class Config(_Frozen):
    """All settings of a run, apart from the device."""

    version: Literal[2] = 2
    network: NetworkConfig = NetworkConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    training: TrainingConfig = TrainingConfig()
    tiling: TilingConfig = TilingConfig()

    @model_validator(mode="before")
    @classmethod
    def _of_version_1(cls, values: Any) -> Any:
        """Read a configuration of version 1, in which ``tiling.tta`` had another name."""
        if not isinstance(values, dict) or values.get("version") != 1:
            return values
        tiling = dict(values.get("tiling", {}))
        if "mirrored" in tiling:
            tiling["tta"] = tiling.pop("mirrored")
        return {**values, "version": 2, "tiling": tiling}

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
            When the text is not a valid configuration; it names the field and the reason.
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
        """Copy the configuration with some fields changed.

        Parameters
        ----------
        changes : mapping
            Values by dotted field name.

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
                if target.get(part) is None:
                    target[part] = {}
                target = target[part]
                if not isinstance(target, dict):
                    raise ConfigError(f"{dotted}: {part} has no fields of its own")
            target[last] = value
        return type(self)(**data)


def _first(error: ValidationError) -> tuple[str, str]:
    """Dotted field and message of the first error."""
    first = error.errors()[0]
    return ".".join(str(part) for part in first["loc"]), first["msg"].removeprefix("Value error, ")
