from concurrent.futures import ThreadPoolExecutor

import dask.array as da
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from napari_redenoise.config import NetworkConfig
from napari_redenoise.data import Normalisation, Planes
from napari_redenoise.errors import ConfigError
from napari_redenoise.inference import (
    Interrupted,
    interruptible,
    predict,
    predict_tile,
    spans,
    tiles,
)
from napari_redenoise.nn import build_network, padding, receptive_radius

KINDS = ("standard", "equivariant", "adarenet")


@settings(deadline=None, max_examples=300)
@given(
    st.integers(16, 1500), st.integers(64, 600), st.integers(0, 200), st.sampled_from([4, 8, 32])
)
def test_spans_read_crop_and_write_as_they_should(
    size: int, tile: int, halo: int, stride: int
) -> None:
    rounded = -(-halo // stride) * stride
    assume(tile >= 2 * rounded + stride)
    before, after = padding(size, stride)
    found = spans(size, tile, halo, stride)
    written = np.zeros(size, int)
    for span in found:
        first, last = span.read
        written[span.write] += 1
        assert span.crop.stop - span.crop.start == span.write.stop - span.write.start > 0
        assert first + span.crop.start == span.write.start
        assert 0 <= span.crop.start < span.crop.stop <= last - first <= max(tile, stride)
        # In the coordinates of the padded axis, tiles begin and end on the pooling grid.
        assert (first + before) % stride == (last + before) % stride == 0
        assert -before <= first < last <= size + after
        if first > -before:
            assert span.write.start - first >= halo
        if last < size + after:
            assert last - span.write.stop >= halo
    np.testing.assert_array_equal(written, 1)
    assert [span.write.start for span in found] == sorted(span.write.start for span in found)


def test_an_axis_that_fits_is_one_tile() -> None:
    (span,) = spans(437, 512, 160, 32)
    assert span.read == (-5, 443)
    assert (span.crop, span.write) == (slice(5, 442), slice(0, 437))


@pytest.mark.parametrize(("tile", "halo", "stride"), [(320, 160, 32), (64, 33, 4), (100, 48, 8)])
def test_a_tile_smaller_than_its_halos_is_refused(tile, halo, stride) -> None:
    with pytest.raises(ConfigError, match=f"tile of {tile} pixels leaves no room") as caught:
        spans(2000, tile, halo, stride)
    advised = int(str(caught.value).split("at least ")[1].split()[0])
    assert spans(2000, advised, halo, stride)
    with pytest.raises(ConfigError):
        spans(2000, advised - 1, halo, stride)


def test_tiles_are_the_product_of_both_axes_row_by_row() -> None:
    found = tiles(700, 500, 256, 64, 32)
    rows, columns = spans(700, 256, 64, 32), spans(500, 256, 64, 32)
    assert [(cut.rows, cut.columns) for cut in found] == [(r, c) for r in rows for c in columns]


def network(config: NetworkConfig) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = build_network(config)
        for name, parameter in made.named_parameters():
            if name.endswith("bias"):
                nn.init.normal_(parameter, std=0.1)
        if config.kind == "adarenet":
            nn.init.normal_(made.correction_network[-1].weight, std=0.1)
    return made.eval()


def image(*shape: int) -> np.ndarray:
    random = np.random.default_rng(sum(shape))
    return (500 + 80 * random.normal(size=shape)).astype(np.float32)


UNITS = Normalisation((500.0,), (80.0,))


def in_tiles(made: nn.Module, array: np.ndarray, axes: str, names, **options) -> dict:
    planes = Planes(array, axes)
    shapes = {"mask": planes.shape_without_channels}
    outputs = {name: np.full(shapes.get(name, array.shape), np.nan, np.float32) for name in names}
    events = list(predict(made, planes, UNITS, outputs, **options))
    assert [event.tile for event in events] == list(range(1, events[0].tiles + 1))
    return outputs


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("levels", "tile", "size"), [(2, 96, (203, 161)), (3, 192, (311, 197)), (2, 96, (64, 301))]
)
def test_tiled_and_whole_prediction_agree(kind: str, levels: int, tile: int, size) -> None:
    config = NetworkConfig(kind=kind, levels=levels, encoder_width=16, decoder_width=16)
    made, array = network(config), image(*size)
    before = array.copy()
    names = ["denoised", "mask", "standard", "equivariant"] if kind == "adarenet" else ["denoised"]
    whole = predict_tile(made, array[None], UNITS)
    radius = receptive_radius(config)
    tiled = in_tiles(made, array, "YX", names, tile=tile, halo=radius)
    for name in names:
        expected = getattr(whole, name)[0]
        difference = np.abs(tiled[name] - expected).max()
        assert difference <= 1e-4 * expected.std()
    np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("kind", KINDS)
def test_tta_is_the_mean_over_flips_and_symmetric(kind) -> None:
    config = NetworkConfig(kind=kind, levels=2, encoder_width=16, decoder_width=16)
    made, array = network(config), image(64, 96)[None]
    once = predict_tile(made, array, UNITS)
    other = predict_tile(made, array[..., ::-1], UNITS)
    both = predict_tile(made, array, UNITS, tta=True)
    names = ["denoised", "mask", "standard", "equivariant"] if kind == "adarenet" else ["denoised"]
    for name in names:
        one, two = getattr(once, name), getattr(other, name)[..., ::-1]
        assert np.abs(one - two).max() > 1e-3 * one.std()
        np.testing.assert_allclose(getattr(both, name), (one + two) / 2, rtol=1e-4, atol=1e-4)
    again = predict_tile(made, array[..., ::-1], UNITS, tta=True).denoised
    np.testing.assert_allclose(again[..., ::-1], both.denoised, rtol=1e-5)


@pytest.mark.parametrize(("tile", "size"), [(96, (203, 161)), (96, (64, 301)), (96, (50, 95))])
def test_tiled_and_whole_prediction_with_tta_agree(tile: int, size) -> None:
    config = NetworkConfig(levels=2, encoder_width=16, decoder_width=16)
    made, array = network(config), image(*size)
    rows, columns = (padding(side, made.stride) for side in size)
    padded = np.pad(array, (rows, columns), "reflect")
    whole = predict_tile(made, padded[None], UNITS, tta=True).denoised[0]
    whole = whole[rows[0] :, columns[0] :][: size[0], : size[1]]
    halo = receptive_radius(config)
    tiled = in_tiles(made, array, "YX", ["denoised"], tile=tile, halo=halo, tta=True)
    assert np.abs(tiled["denoised"] - whole).max() <= 1e-4 * whole.std()


def test_tta_flips_every_second_draw() -> None:
    made = network(NetworkConfig(kind="standard", levels=1, encoder_width=4, decoder_width=4))
    seen = []
    made.register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()))
    draws = [torch.arange(64.0).reshape(1, 1, 8, 8) + number for number in range(4)]
    predict_tile(made, image(1, 8, 8), UNITS, draws=lambda _: draws, tta=True)
    shown = [draws[0], draws[1].flip(-1), draws[2], draws[3].flip(-1)]
    assert len(seen) == 4
    assert all(map(torch.equal, seen, shown))


def test_without_a_halo_the_tiles_show() -> None:
    config = NetworkConfig(kind="equivariant", levels=2, encoder_width=16, decoder_width=16)
    made, array = network(config), image(203, 161)
    whole = predict_tile(made, array[None], UNITS).denoised[0]
    tiled = in_tiles(made, array, "YX", ["denoised"], tile=96, halo=0)
    assert np.abs(tiled["denoised"] - whole).max() > 0.1 * whole.std()


def test_tiled_and_whole_prediction_agree_for_the_default_unet() -> None:
    config = NetworkConfig(kind="equivariant")
    made, array = network(config), image(611, 437)
    whole = predict_tile(made, array[None], UNITS).denoised[0]
    halo = receptive_radius(config)
    tiled = in_tiles(made, array, "YX", ["denoised"], tile=512, halo=halo)["denoised"]
    assert np.abs(tiled - whole).max() <= 1e-4 * whole.std()


def test_every_sample_and_channel_is_predicted_in_its_place() -> None:
    config = NetworkConfig(kind="adarenet", channels=3, levels=2, encoder_width=8, decoder_width=8)
    made, array = network(config), image(2, 40, 3, 52)
    expected = [predict_tile(made, sample.transpose(1, 0, 2), UNITS) for sample in array]
    outputs = in_tiles(made, array, "TYCX", ["denoised", "mask"], tile=64, halo=0)
    for number, arrays in enumerate(expected):
        np.testing.assert_allclose(
            outputs["denoised"][number], arrays.denoised.transpose(1, 0, 2), rtol=1e-4
        )
        np.testing.assert_allclose(outputs["mask"][number], arrays.mask[0], atol=1e-5)


def test_only_the_samples_asked_for_are_predicted() -> None:
    config = NetworkConfig(kind="standard", levels=1, encoder_width=4, decoder_width=4)
    array = da.from_array(image(3, 32, 32))
    outputs = {"denoised": np.full((3, 32, 32), np.nan, np.float32)}
    planes = Planes(array, "TYX")
    (event,) = predict(network(config), planes, UNITS, outputs, tile=64, halo=8, samples=[(1,)])
    assert event.sample == (1,)
    assert np.isfinite(outputs["denoised"]).all((1, 2)).tolist() == [False, True, False]


def test_a_forward_pass_can_be_interrupted_in_its_context() -> None:
    config = NetworkConfig(kind="equivariant", levels=2, encoder_width=8, decoder_width=8)
    made, calls = network(config), []

    def after_three() -> bool:
        calls.append(None)
        return len(calls) > 3

    x = torch.zeros(1, 1, 32, 32)
    with pytest.raises(Interrupted), interruptible(made, after_three):
        made(x)
    assert len(calls) == 4
    assert made(x).denoised.shape == x.shape
    assert len(calls) == 4


def test_only_the_thread_that_asked_for_it_is_interrupted() -> None:
    config = NetworkConfig(kind="standard", levels=1, encoder_width=4, decoder_width=4)
    made = network(config)
    x = torch.zeros(1, 1, 32, 32)
    with ThreadPoolExecutor(1) as elsewhere, interruptible(made, lambda: True):
        assert elsewhere.submit(made, x).result().denoised.shape == x.shape
        with pytest.raises(Interrupted):
            made(x)
