"""What is public stays small, and says what it takes, gives and raises."""

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import napari_redenoise
from napari_redenoise import Config, FolderConfig, Redenoiser, measure_noise
from napari_redenoise.config import NoiseConfig
from napari_redenoise.errors import ConfigError, InputError

MOST_MEMBERS = 10


def public(cls: type) -> list[str]:
    """Names of a class that do not begin with an underscore, its instances' included."""
    names = {*vars(cls), *vars(cls())}
    return sorted(name for name in names if not name.startswith("_"))


def functions() -> Iterator[tuple[str, Any]]:
    """Public functions and methods, by name."""
    for name in napari_redenoise.__all__:
        found = getattr(napari_redenoise, name)
        if inspect.isfunction(found):
            yield name, found
        elif inspect.isclass(found) and found.__module__.startswith("napari_redenoise"):
            for method in vars(found):
                function = getattr(found, method)
                if not method.startswith("_") and callable(function):
                    yield f"{name}.{method}", function


FUNCTIONS = dict(functions())


def test_the_facade_has_few_public_members() -> None:
    assert len(public(Redenoiser)) <= MOST_MEMBERS, public(Redenoiser)


def test_all_public_names_are_there() -> None:
    assert all(hasattr(napari_redenoise, name) for name in napari_redenoise.__all__)
    assert set(napari_redenoise.__all__) - {"__version__"} == set(napari_redenoise._LAZY)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_public_functions_say_what_they_do(name: str) -> None:
    function = FUNCTIONS[name]
    text = inspect.getdoc(function) or ""
    signature = inspect.signature(function)
    given = [one for one in signature.parameters if one not in ("self", "cls")]
    assert text
    if given:
        assert "Parameters\n----------" in text
    for parameter in given:
        assert parameter in text
    gives = str(signature.return_annotation)
    if gives not in ("None", "<class 'inspect._empty'>"):
        assert any(f"{part}\n{'-' * len(part)}" in text for part in ("Returns", "Yields"))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Config(training={"steps": -1}), "training.steps: "),
        (lambda: Config(nothing=1), "nothing: "),
        (lambda: NoiseConfig(gain=(-1.0,)), "gain.0: "),
        (lambda: FolderConfig(epochs=0), "epochs: "),
        (lambda: Config().replace({"training.steps": "many"}), "training.steps: "),
        (lambda: Config().replace({"training.step": 3}), "training.step: "),
        (lambda: Config.from_json("{}}"), "correct or remove it"),
    ],
)
def test_a_wrong_setting_is_a_config_error(make, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_sections_can_be_given_as_plain_values() -> None:
    config = Config(training={"steps": 5}, network={"group": "D4"})
    assert (config.training.steps, config.network.group) == (5, "D4")
    assert config == Config().replace({"training.steps": 5, "network.group": "D4"})


@pytest.mark.parametrize("axes", [("Y", "X"), 3])
def test_axes_that_are_no_text_are_refused(axes) -> None:
    with pytest.raises(InputError, match="give a text such as"):
        measure_noise(np.random.default_rng(0).normal(size=(40, 40)), axes)


def test_a_configuration_is_a_config() -> None:
    with pytest.raises(ConfigError, match="expected a Config, got dict"):
        Redenoiser({"training": {"steps": 0}})
