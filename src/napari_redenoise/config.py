"""Frozen settings: one model is the form, the command line, the JSON and the file header.

Every class is immutable, validated once, and refuses unknown fields, so a typing error in a JSON
file is reported and not ignored.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from napari_redenoise.errors import ConfigError

NetworkKind = Literal["adarenet", "equivariant", "standard"]
NetworkVariant = Literal["default", "reference"]
ObjectiveKind = Literal["noise2self", "noise2void"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NetworkConfig(_Frozen):
    """The network that denoises.

    ``kind`` is ``adarenet`` (a standard and an equivariant U-Net fused by a learned mask),
    ``equivariant`` or ``standard`` (one of the two branches alone). ``variant`` ``reference`` is
    the network as the method's authors published it: see docs/reference.md.
    """

    kind: NetworkKind = "adarenet"
    variant: NetworkVariant = "default"
    group: str = Field("C4", description="symmetry group: C4, C8, ... or D4, D8, ...")
    channels: int = Field(1, ge=1, le=16, description="channels of the image (1 grey, 3 RGB)")
    kernel_size: Literal[3, 5, 7] = 3
    levels: int = Field(5, ge=1, le=6, description="number of 2x poolings")
    encoder_width: int = Field(48, ge=1)
    decoder_width: int = Field(96, ge=1)

    @model_validator(mode="after")
    def _group_is_known(self) -> NetworkConfig:
        if not re.fullmatch(r"[CD][1-9]\d?", self.group):
            raise ValueError(f"group {self.group!r} is unknown: give C4, C8, D4, ...")
        return self


class ObjectiveConfig(_Frozen):
    """What is learned from noisy pixels alone."""

    kind: ObjectiveKind = "noise2self"
    spacing: int = Field(4, ge=2, le=16, description="Noise2Self: one pixel in spacing^2 is masked")
    masked_fraction: float = Field(0.08, gt=0, le=0.5, description="Noise2Void: share masked")
    window: int = Field(5, ge=3, le=15, description="Noise2Void: width of the neighbourhood")


class TrainingConfig(_Frozen):
    """How the network is trained.

    ``learning_rate`` ``None`` takes the best measured rate of the network kind; ``precision``
    ``auto`` uses bfloat16 autocast where the device computes it faster than float32.
    """

    steps: int = Field(270, ge=1)
    batch_size: int = Field(8, ge=1)
    patch_size: int = Field(64, ge=8)
    learning_rate: float | None = Field(None, gt=0)
    warmup_steps: int = Field(30, ge=0)
    ema_decay: float = Field(0.98, ge=0, lt=1)
    clip_norm: float = Field(1.0, gt=0)
    branch_weight: float = Field(0.1, ge=0, description="weight of each branch's loss (AdaReNet)")
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: Annotated[int, Field(ge=0)] = 0


class TilingConfig(_Frozen):
    """How large images are predicted: tiles of ``tile`` pixels with a halo.

    ``halo`` ``None`` takes the receptive field's radius, with which tiled and whole prediction
    agree.
    """

    tile: int = Field(1024, ge=64)
    halo: int | None = Field(None, ge=0)


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

        Raises
        ------
        ConfigError
            With the field and the reason, when the text is not a valid configuration.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the text"
            raise ConfigError(
                f"the configuration is not valid at {where}: {first['msg']}; correct or remove it"
            ) from error

    def changed(self, **sections: object) -> Config:
        """Return a copy with dotted fields changed: ``changed(**{"training.steps": 100})``.

        Raises
        ------
        ConfigError
            When a field is unknown or its value not allowed.
        """
        data = self.model_dump()
        for dotted, value in sections.items():
            target = data
            *path, last = dotted.split(".")
            for part in path:
                target = target.setdefault(part, {})
                if not isinstance(target, dict):
                    raise ConfigError(f"{dotted}: {part} has no fields of its own")
            target[last] = value
        try:
            return type(self).model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ConfigError(f"{where}: {first['msg']}") from error
