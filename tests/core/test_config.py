import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from napari_redenoise import Config
from napari_redenoise.config import NetworkConfig, ObjectiveConfig, TilingConfig, TrainingConfig
from napari_redenoise.errors import ConfigError, RedenoiseError

SECTIONS = [NetworkConfig, ObjectiveConfig, TrainingConfig, TilingConfig, Config]
configs = st.builds(
    Config,
    network=st.builds(
        NetworkConfig,
        kind=st.sampled_from(["adarenet", "equivariant", "standard"]),
        group=st.sampled_from(["C1", "C4", "C8", "C12", "D4", "D8"]),
        channels=st.integers(1, 16),
        levels=st.integers(1, 6),
    ),
    objective=st.builds(ObjectiveConfig, masked_fraction=st.floats(0.001, 0.5)),
    training=st.builds(
        TrainingConfig,
        learning_rate=st.none() | st.floats(1e-9, 1e3),
        ema_decay=st.floats(0, 0.9999),
        seed=st.integers(0, 2**53),
    ),
    tiling=st.builds(TilingConfig, halo=st.none() | st.integers(0, 500)),
)


@settings(deadline=None, max_examples=50)
@given(configs)
def test_a_configuration_survives_its_json(config: Config) -> None:
    text = config.model_dump_json()
    assert Config.from_json(text) == config
    assert json.loads(text)["version"] == 2


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_is_frozen(section: type[BaseModel]) -> None:
    made = section()
    name = next(iter(section.model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(made, name, getattr(made, name))


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_refuses_unknown_fields(section: type[BaseModel]) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        section.model_validate({"lerning_rate": 1})


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        (NetworkConfig, "kind", "unet"),
        (NetworkConfig, "group", "C0"),
        (NetworkConfig, "group", "SO2"),
        (NetworkConfig, "channels", 17),
        (NetworkConfig, "kernel_size", 4),
        (NetworkConfig, "levels", 0),
        (ObjectiveConfig, "spacing", 1),
        (ObjectiveConfig, "masked_fraction", 0),
        (ObjectiveConfig, "window", 1),
        (TrainingConfig, "steps", -1),
        (TrainingConfig, "steps", 1.5),
        (TrainingConfig, "learning_rate", 0),
        (TrainingConfig, "ema_decay", 1),
        (TrainingConfig, "seed", -1),
        (TilingConfig, "tile", 63),
        (TilingConfig, "halo", -1),
    ],
)
def test_values_that_make_no_sense_are_refused(section, field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        section.model_validate({field: value})


def test_changed_gives_a_copy_with_the_fields_changed() -> None:
    config = Config()
    changed = config.replace({"training.steps": 7, "network.group": "D4"})
    assert (changed.training.steps, changed.network.group) == (7, "D4")
    assert (config.training.total_steps, config.network.group) == (100, "C4")
    expected = config.model_dump()
    expected["training"]["steps"], expected["network"]["group"] = 7, "D4"
    assert changed.model_dump() == expected


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("training.steps", -1, "training.steps: .*greater than or equal to 0"),
        ("training.stepps", 3, "training.stepps: Extra inputs"),
        ("trainning.steps", 3, "trainning"),
        ("speed", 3, "speed: Extra inputs"),
        ("network.group", "X4", "group 'X4' is unknown: give C4, C8, D4"),
        ("training.steps.more", 3, "training.steps"),
    ],
)
def test_changed_says_which_field_is_wrong(field: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Config().replace({field: value})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid at the text: Invalid JSON.*; correct or remove it"),
        ("[]", "not valid at the text"),
        ('{"version": 3}', "not valid at version"),
        ('{"training": {"steps": -3}}', "not valid at training.steps: .*correct or remove it"),
        ('{"training": {"setps": 3}}', "not valid at training.setps"),
    ],
)
def test_invalid_json_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Config.from_json(text)


def test_a_missing_field_takes_its_default() -> None:
    config = Config.from_json('{"training": {"steps": 5}}')
    assert config == Config().replace({"training.steps": 5})


def test_configuration_errors_can_be_caught_as_one_kind() -> None:
    assert issubclass(ConfigError, RedenoiseError)
    assert issubclass(ConfigError, ValueError)


def test_a_configuration_of_version_1_is_read():
    older = json.loads(Config().replace({"tiling.tta": True}).model_dump_json())
    older["version"] = 1
    older["tiling"]["mirrored"] = older["tiling"].pop("tta")
    assert Config.from_json(json.dumps(older)) == Config().replace({"tiling.tta": True})
    with pytest.raises(ConfigError, match="mirrored"):
        Config.from_json(json.dumps({**older, "version": 2}))


def test_fields_of_the_noise_are_set_by_their_names() -> None:
    noise = Config().replace({"objective.kind": "r2r", "objective.noise.gain": (2.0,)})
    assert noise.objective.noise.gain == (2.0,)
    assert noise.objective.noise.read_noise == (0.0,)


@pytest.mark.parametrize("seed", [-1, 2**70])
def test_seeds_that_torch_refuses_are_refused(seed):
    with pytest.raises(ConfigError, match=r"training\.seed"):
        Config(training={"seed": seed})
