from copy import copy

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from napari_redenoise import Config, Redenoiser
from napari_redenoise.data import Planes, representative_subset
from napari_redenoise.inference import Interrupted, TileDone
from napari_redenoise.model import _corrections, _prediction, measure_noise
from napari_redenoise.model._corrections import Corrections, correct
from napari_redenoise.model._previews import PreviewDone, Window
from napari_redenoise.nn import Prediction
from napari_redenoise.noise import describe, diagnose, line_offsets

CPU, ROWS = torch.device("cpu"), Corrections("rows")
SIGMA, SHARE = 10.0, 0.5


def scene(height: int = 160, width: int = 192, seed: int = 0) -> np.ndarray:
    """Blobs of some hundred grey levels."""
    image = np.random.default_rng(seed).normal(size=(height, width))
    return 100 + 1500 * np.maximum(ndimage.gaussian_filter(image, 4), 0)


def noisy_scene(seed: int = 0) -> np.ndarray:
    clean = scene(seed=seed)
    return clean + np.random.default_rng(seed + 1).normal(0, SIGMA, clean.shape)


def offsets(size: int, seed: int = 2) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(0, SHARE * SIGMA, size)
    return drawn - drawn.mean()


def straight(image: np.ndarray, lines: str, axes: str = "YX") -> np.ndarray:
    return whole(correct(Planes(image, axes), Corrections(lines), CPU))[0]


def whole(planes: Planes, sample: tuple[int, ...] = ()) -> np.ndarray:
    return planes.read(sample, slice(0, planes.height), slice(0, planes.width))


class Nothing(nn.Module):
    """Takes everything for noise; a network of one tile's size."""

    stride = 1

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Identity()
        self.weight = nn.Parameter(torch.zeros(1), requires_grad=False)

    def forward(self, x: torch.Tensor) -> Prediction:
        return Prediction(0 * self.layer(x))


@pytest.mark.parametrize("lines", ["rows", "columns", "both"])
def test_offsets_are_subtracted_and_nothing_else(lines: str) -> None:
    image = noisy_scene()
    rows, columns = offsets(160)[:, None], offsets(192, 3)[None]
    added = (lines != "columns") * rows + (lines != "rows") * columns
    given = image + added
    before = given.copy()
    found = given - straight(given, lines)
    np.testing.assert_array_equal(given, before)
    assert abs(found.mean()) < 1e-3
    # Subtracted is one number per line.
    parts = found - found.mean(1, keepdims=True) - found.mean(0, keepdims=True)
    assert abs(parts).max() < 1e-3
    if lines == "rows":
        assert np.ptp(found, axis=1).max() < 1e-3
    # What is left of the offsets is little more than the mean of the other noise over a line.
    left = (added - found).std()
    assert left < 0.45 * added.std()
    least = SIGMA * np.sqrt((lines != "columns") / 192 + (lines != "rows") / 160)
    assert left < 2.5 * least


def test_offsets_of_large_grey_levels_keep_their_precision() -> None:
    image = noisy_scene() + offsets(160)[:, None]
    plain, lifted = (straight(image + offset, "rows") - offset for offset in (0, 1e9))
    assert np.abs(plain - lifted).max() < 0.01 * SIGMA


def test_reading_a_window_does_not_predict(monkeypatch) -> None:
    planes = correct(Planes(noisy_scene() + offsets(160)[:, None], "YX"), Corrections("rows"), CPU)
    monkeypatch.setattr(_corrections, "pretrained_denoiser", None)
    part = planes.read((), slice(20, 50), slice(30, 90))
    # As the image: float32 would not hold every grey level.
    assert part.dtype == np.float64
    assert part.shape == (1, 30, 60)
    np.testing.assert_array_equal(part, whole(planes)[:, 20:50, 30:90])


def test_every_sample_is_predicted_right_after_its_correction(monkeypatch) -> None:
    """The first result does not wait for the other planes."""
    stack = np.stack([noisy_scene(n) + offsets(160, n)[:, None] for n in range(3)])
    order = []
    real = _corrections._measure

    def found(planes, sample, *rest):
        order.append(("offsets", sample))
        return real(planes, sample, *rest)

    def in_tiles(network, planes, *, samples, **rest):
        (sample,) = samples
        for tile in (1, 2):
            order.append(("tile", sample))
            assert abs(whole(planes, sample)[0].mean(1) - stack[sample].mean(1)).max() > 1
            yield TileDone(tile, 2, sample)

    def predict(should_stop=None):
        rest = None, {}, Config(), CPU, None, should_stop
        network, planes = nn.Identity(), Planes(stack, "TYX")
        return list(_prediction.predict_planes(network, planes, *rest, tta=False, corrections=ROWS))

    monkeypatch.setattr(_corrections, "_measure", found)
    monkeypatch.setattr(_prediction, "predict_in_tiles", in_tiles)
    events = predict()
    assert [event.tile for event in events] == [1, 2, 3, 4, 5, 6]
    assert {event.tiles for event in events} == {6}
    one = [[("offsets", (n,)), ("tile", (n,)), ("tile", (n,))] for n in range(3)]
    assert order == [*one[0], *one[1], *one[2]]
    # A stop ends it, in the middle of a search too.
    asked = iter([False, False, True])
    assert len(predict(lambda: next(asked, True))) < 6


@pytest.mark.parametrize("lines", ["none", "rows", "columns", "both"])
def test_any_denoiser_measures_line_offsets(lines: str) -> None:
    """Of a scene that the denoiser knows exactly, what is left is the error of a line's mean."""
    truth = scene()
    rows, columns = offsets(160), offsets(192, 3)
    added = (lines in ("rows", "both")) * rows[:, None] + (lines in ("columns", "both")) * columns
    noisy = truth + added + np.random.default_rng(5).normal(0, SIGMA, truth.shape)
    noisy[20:30, 40] = np.nan
    before = noisy.copy()
    found = line_offsets(noisy, lines, lambda plane: np.where(np.isfinite(plane), truth, np.nan))
    np.testing.assert_array_equal(noisy, before)
    assert found.rows.shape == (160,)
    assert found.columns.shape == (192,)
    for axis, (own, true, name) in enumerate(
        ((found.rows, rows, "rows"), (found.columns, columns, "columns"))
    ):
        assert abs(own.mean()) < 1e-9
        if lines in (name, "both"):
            assert np.std(own - true) < 1.3 * SIGMA / np.sqrt(noisy.shape[1 - axis])
        else:
            np.testing.assert_array_equal(own, 0)


def test_every_plane_and_channel_has_its_own_offsets() -> None:
    stack = np.stack([noisy_scene(n) + offsets(160, 5 + n)[:, None] for n in range(2)])
    constant = np.full_like(stack, 7.0)
    planes = correct(Planes(np.stack([stack, constant], -1), "TYXC"), Corrections("rows"), CPU)
    for number in range(2):
        found = stack[number] - whole(planes, (number,))[0]
        assert np.corrcoef(found[:, 0], offsets(160, 5 + number))[0, 1] > 0.85
        np.testing.assert_array_equal(whole(planes, (number,))[1], constant[number])


def test_missing_pixels_do_not_change_line_offsets() -> None:
    image = noisy_scene() + offsets(160)[:, None]
    image[3], image[50:60, 20:30] = np.nan, np.inf
    found = straight(image, "rows")
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(image))
    rows = np.r_[0:3, 4:160]
    subtracted = image[rows, 100] - found[rows, 100]
    assert np.corrcoef(subtracted, offsets(160)[rows])[0, 1] > 0.85
    assert abs(subtracted).max() < 4 * SHARE * SIGMA


def test_means_of_lines_do_not_depend_on_tiles(monkeypatch) -> None:
    """More than a tile long; some pixels are far too bright."""
    monkeypatch.setattr(_corrections, "pretrained_denoiser", lambda device: Nothing())
    rng = np.random.default_rng(0)
    truth = offsets(2100)
    image = 50 + rng.normal(0, SIGMA, (2100, 100)) + truth[:, None]
    image[rng.random(image.shape) < 1e-3] = 1e6
    found = (image - straight(image, "rows"))[:, 0]
    normal = abs(found) < 1e3
    assert np.std((found - truth)[normal]) < 1.3 * SIGMA / np.sqrt(100)
    assert normal.all()


def test_the_corrections_can_be_stopped() -> None:
    with pytest.raises(Interrupted):
        correct(Planes(noisy_scene(), "YX"), Corrections("both"), CPU, lambda: True)


def test_some_pixels_of_a_stack_are_read_where_they_are() -> None:
    stack = np.arange(3 * 4 * 20 * 24, dtype=np.uint16).reshape(3, 4, 20, 24)
    region = stack % 2 == 0
    planes = Planes(stack, "TZYX", region)
    some = representative_subset(planes, 3 * 20 * 24)
    assert some.array.shape == (3, 1, 20, 24)
    assert some.array.dtype == np.uint16
    window = (slice(2, 9), slice(4, 6))
    for number, sample in enumerate([(0, 1), (1, 0), (2, 3)]):
        np.testing.assert_array_equal(some.read((number,), *window), planes.read(sample, *window))
        np.testing.assert_array_equal(
            some.inside((number,), *window), planes.inside(sample, *window)
        )
    assert representative_subset(planes, 12 * 20 * 24) is planes
    # Of one that is larger than what is read, the middle.
    one = representative_subset(Planes(stack, "TZYX"), 1, side=16)
    np.testing.assert_array_equal(
        one.read((0,), slice(1, 5), slice(0, 7)), stack[1, 1, 3:7, 4:11][None]
    )


def test_pixels_are_taken_where_there_is_something_to_learn() -> None:
    stack = np.zeros((9, 40, 48))
    stack[6:] = np.random.default_rng(0).normal(size=(3, 40, 48))
    some = representative_subset(Planes(stack, "TYX"), 40 * 48)
    np.testing.assert_array_equal(whole(some, (0,))[0], stack[6])
    region = np.zeros(stack.shape, bool)
    region[8, 30:34, 2:4] = True
    some = representative_subset(Planes(stack, "TYX", region), 3 * 40 * 48, side=20)
    assert some.array.shape == (1, 1, 20, 20)
    np.testing.assert_array_equal(whole(some, (0,))[0], stack[8, 20:40, 0:20])
    assert some.inside((0,), slice(0, 20), slice(0, 20)).sum() == 8
    nowhere = Planes(np.zeros((9, 40, 48)), "TYX")
    assert representative_subset(nowhere, 40 * 48) is nowhere


def test_borders_that_were_filled_neither_count_nor_change() -> None:
    image = noisy_scene() + offsets(160)[:, None]
    image[:, :100] = 0
    image[40:60] = 0
    found = straight(image, "rows")
    np.testing.assert_array_equal(found[:, :99], 0)
    np.testing.assert_array_equal(found[41:59], 0)
    rows = np.r_[0:39, 61:160]
    subtracted = (image - found)[rows, 150]
    assert np.corrcoef(subtracted, offsets(160)[rows])[0, 1] > 0.8


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(("period", "amplitude"), [(3, 0.1), (3, 0.3), (2.5, 0.2)])
def test_fringes_are_no_offsets(axis: int, period: float, amplitude: float) -> None:
    fringes = 1 + amplitude * np.sin(2 * np.pi * np.arange(128) / period)
    clean = 60 * np.moveaxis(fringes * np.ones((128, 1)), 1, axis)
    (report,) = measure_noise(np.random.default_rng(0).poisson(clean))
    name = ("rows", "columns")[axis]
    assert report.autocorrelation.patterned == (name,)
    assert diagnose([report], fine_tuning=True).lines == "none"
    assert any("regular pattern" in finding.text for finding in describe(report))


@pytest.mark.parametrize("seed", range(4))
def test_offsets_drawn_by_chance_are_no_pattern(seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.poisson(60.0, (64, 128)) + rng.normal(0, 6, (64, 1))
    correlation = measure_noise(image)[0].autocorrelation
    assert correlation.rows > 0.2
    assert correlation.patterned == ()


def found_lines(image: np.ndarray) -> str:
    return diagnose(measure_noise(image), fine_tuning=True).lines


@pytest.mark.parametrize("step", [20, 200, 1000])
@pytest.mark.parametrize("width", [30, 96])
def test_the_seam_of_a_split_view_is_no_line_offset(step, width) -> None:
    image = noisy_scene()
    image[:, 96 - width : 96] += step
    assert found_lines(image) == "none"
    assert found_lines(image.T) == "none"
    # Offsets of all lines are found beside it.
    assert found_lines(image + offsets(192)) == "columns"
    assert found_lines(image + offsets(160)[:, None]) == "rows"


@pytest.mark.parametrize("width", [5, 10])
def test_stripes_with_sharp_edges_are_no_line_offsets(width) -> None:
    stripes = 100.0 * ((np.arange(192) // width) % 2)
    assert found_lines(noisy_scene() + stripes) == "none"


def test_slopes_without_noise_have_no_lines() -> None:
    slope = np.tile(np.linspace(0, 60, 256), (256, 1))
    for image in (slope, slope.astype(np.uint8), slope.T.astype(np.uint8)):
        assert diagnose(measure_noise(image), fine_tuning=True).lines == "none"


@pytest.fixture(scope="module")
def lined() -> np.ndarray:
    """A scene whose rows have offsets, as float32."""
    return (noisy_scene() + offsets(160)[:, None]).astype(np.float32)


def test_pretrained_weights_alone_correct_lines(lined) -> None:
    model = Redenoiser(Config().replace({"training.steps": 0}), "cpu").fit(lined)
    assert model.session.plan.config.objective.lines == "rows"
    assert model.session.plan.config.objective.kind == "auto"

    def error(image: np.ndarray, **plain: object) -> float:
        denoised = model.predict(image, **plain).denoised
        return float(np.mean((denoised - scene()) ** 2))

    # By far the most of what the lines cost.
    without_offsets = error(noisy_scene())
    cost = error(lined, tta=False, draws=0, corrections=False) - error(
        noisy_scene(), tta=False, draws=0, corrections=False
    )
    assert error(lined) - without_offsets < 0.4 * cost
    assert abs(model.predict(lined).denoised.mean() - lined.mean()) < 0.05 * SIGMA


def test_training_pixels_are_line_corrected(monkeypatch) -> None:
    clean = scene(320, 384)
    photons = np.random.default_rng(1).poisson((clean - 95) / 4)
    lined = (100.0 + 4 * photons + offsets(320)[:, None]).astype(np.float32)
    learned = []
    real = _corrections.Planes.read

    def read(self, sample, rows, columns):
        learned.append(type(self).__name__)
        return real(self, sample, rows, columns)

    monkeypatch.setattr(Planes, "read", read)
    changes = {"training.steps": 2, "training.batch_size": 1, "training.patch_size": 32}
    model = Redenoiser(Config().replace(changes), "cpu")
    window = Window((), slice(0, 64), slice(0, 64))
    events = list(model.fit_events(lined, view=lambda: window))
    assert model.session.plan.config.objective.lines == "rows"
    assert model.session.plan.config.objective.kind == "r2r"
    assert "CorrectedPlanes" in learned
    assert model.session.provenance["config"]["objective"]["lines"] == "rows"
    # The noise that is drawn from is that which is left.
    assert model.session.plan.config.objective.noise.gain[0] == pytest.approx(4, rel=0.15)
    # The first preview comes before anything is known of the noise, later ones follow.
    assert isinstance(events[0], PreviewDone)
    later = model.session.preview(lined, None, window)
    assert not np.allclose(later.denoised, events[0].denoised, atol=0.05 * SIGMA)


def test_a_region_on_one_frame_is_learned_from(tiny: Config) -> None:
    rng = np.random.default_rng(0)
    stack = rng.normal(0, SIGMA, (9, 600, 600)) + rng.normal(0, SIGMA / 2, (9, 600, 1))
    region = np.zeros(stack.shape, bool)
    region[4, 100:200, 100:200] = True
    changes = {"objective.kind": "auto", "network.channels": 1}
    model = Redenoiser(tiny.replace(changes), "cpu").fit(stack.astype(np.float32), mask=region)
    assert model.session.plan.config.objective.lines == "rows"


def test_a_small_window_is_previewed_as_it_is(lined, tiny: Config) -> None:
    named = {"objective.kind": "noise2self", "objective.lines": "rows"}
    model = Redenoiser(tiny.replace(named), "cpu").fit(lined)
    seen = model.session.preview(lined, None, Window((), slice(0, 10), slice(0, 40)))
    assert seen.denoised.shape == (1, 10, 40)


def test_line_offsets_of_another_image_are_forgotten(lined) -> None:
    for kind in ("auto", "r2r"):
        none = {"training.steps": 0, "objective.kind": kind}
        model = Redenoiser(Config().replace(none), "cpu").fit(lined)
        assert model.session.plan.config.objective.lines == "rows"
        assert list(model.fit_events(noisy_scene(), should_stop=lambda: True)) == []
        assert model.session.plan.lines == "none"
    # What was said stays.
    said = Config().replace({"training.steps": 0, "objective.lines": "columns"})
    model = Redenoiser(said, "cpu").fit(lined).fit(lined)
    assert model.session.plan.config.objective.lines == "columns"


def test_random_weights_train_on_corrected_lines(lined, tiny: Config) -> None:
    model = Redenoiser(tiny.replace({"objective.kind": "auto"}), "cpu").fit(lined)
    assert model.session.plan.config.training.start == "random"
    assert model.session.plan.config.objective.lines == "rows"
    assert copy(model).session.plan.config.objective.lines == "rows"
    list(model.fit_events(noisy_scene().astype(np.float32), resume=True, steps=1))
    assert model.session.plan.config.objective.lines == "none"


def test_lines_may_be_named_with_any_objective(lined, tiny: Config) -> None:
    named = {"objective.kind": "noise2noise", "objective.lines": "both"}
    stack = np.stack([lined, (noisy_scene() + offsets(160, 9)[:, None]).astype(np.float32)])
    model = Redenoiser(tiny.replace(named), "cpu").fit(stack)
    assert model.session.plan.config.objective.lines == "both"


def test_a_stop_of_the_corrections_keeps_pretrained_weights(lined, monkeypatch) -> None:
    stop = []
    real = _corrections.pretrained_denoiser

    def network(device):
        stop.append(True)
        return real(device)

    monkeypatch.setattr(_corrections, "pretrained_denoiser", network)
    model = Redenoiser(Config(), "cpu")
    assert list(model.fit_events(lined, should_stop=lambda: bool(stop))) == []
    assert stop
    assert model.session.provenance["steps"] == 0
    assert model.predict(lined).denoised.shape == lined.shape
