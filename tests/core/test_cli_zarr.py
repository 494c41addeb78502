"""`redenoise denoise` with OME-Zarr: in, out, and image by image larger than memory."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_redenoise import Config, Redenoiser
from napari_redenoise.io import ImageFile, _lazy_images, _result_arrays, read_image, write_ome_zarr
from napari_redenoise.model import Session


@pytest.fixture
def stack(noisy: np.ndarray) -> np.ndarray:
    return np.stack([noisy, noisy + 1, noisy + 2])


@pytest.fixture
def model(tmp_path: Path, noisy: np.ndarray, tiny: Config) -> Path:
    config = tiny.replace({"network.kind": "adarenet"})
    return Redenoiser(config, "cpu").fit(noisy).save(tmp_path / "m.safetensors")


@pytest.fixture
def source(tmp_path: Path, stack: np.ndarray) -> Path:
    like = ImageFile(stack, "TYX", {"unit": "µm", "finterval": 2.0}, (4.0, 4.0))
    return write_ome_zarr(tmp_path / "in.zarr", stack, like)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_ome_zarr_is_denoised_with_all_its_results(redenoise, source, model, stack, tmp_path):
    out, mask = tmp_path / "out.zarr", tmp_path / "mask.zarr"
    options = ("--model", model, "--device", "cpu", "--mask", mask, "--branches")
    status, said, errors = redenoise("denoise", source, out, *options)
    assert status == 0, errors
    expected = Redenoiser.load(model, "cpu").predict(stack, "TYX", branches=True)
    paths = {"denoised": out, "mask": mask}
    paths |= {name: tmp_path / f"out-{name}.zarr" for name in ("standard", "equivariant")}
    for name, path in paths.items():
        assert f"wrote {path}" in said
        found = read_image(path)
        assert (found.axes, found.array.dtype) == ("TYX", np.float32)
        np.testing.assert_allclose(found.array, getattr(expected, name), rtol=1e-5, atol=1e-5)
        assert (found.metadata, found.resolution) == ({"unit": "µm", "finterval": 2.0}, (4.0, 4.0))
    provenance = json.loads((out / "zarr.json").read_text())["attributes"]["redenoise"]
    assert provenance["config"]["network"]["kind"] == "adarenet"
    assert provenance["steps"] == 3


def test_tiff_and_ome_zarr_are_converted_into_each_other(redenoise, source, model, tmp_path):
    tif, back, out = tmp_path / "out.tif", tmp_path / "back.zarr", tmp_path / "out.zarr"
    options = ("--model", model, "--device", "cpu", "--as-source")
    for command in ((source, tif), (source, out)):
        assert redenoise("denoise", *command, *options)[0] == 0
    with tifffile.TiffFile(tif) as file:
        assert (file.series[0].axes, file.series[0].dtype) == ("TYX", np.uint16)
        assert file.imagej_metadata["finterval"] == 2.0
    np.testing.assert_array_equal(read_image(out).array, tifffile.imread(tif))
    assert redenoise("denoise", tif, back, *options)[0] == 0
    assert (read_image(back).resolution, read_image(back).array.dtype) == ((4.0, 4.0), np.uint16)


def test_a_training_on_an_ome_zarr_is_that_on_its_pixels(redenoise, source, stack, tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", stack, photometric="minisblack", metadata={"axes": "TYX"})
    options = ("--steps", 2, "--device", "cpu", "--region", tmp_path / "region.zarr")
    region = np.zeros(stack.shape[1:], np.uint8)
    region[10:60, 10:50] = 1
    write_ome_zarr(tmp_path / "region.zarr", region, ImageFile(region, "YX"))
    assert redenoise("denoise", tmp_path / "in.tif", tmp_path / "a.tif", *options)[0] == 0
    status, said, errors = redenoise("denoise", source, tmp_path / "b.zarr", *options, "--report")
    assert status == 0, errors
    assert "Mean" in said
    np.testing.assert_allclose(
        read_image(tmp_path / "b.zarr").array, tifffile.imread(tmp_path / "a.tif"), rtol=1e-5
    )
    assert redenoise("check", source, tmp_path / "b.zarr")[0] == 0


def test_channels_of_a_tiff_are_reordered_and_checked_in_order(redenoise, tmp_path, noisy, tiny):
    array = np.stack([[noisy, noisy // 2], [noisy + 1, noisy // 3]])
    tifffile.imwrite(tmp_path / "in.tif", array, imagej=True, metadata={"axes": "ZCYX"})
    model = Redenoiser(tiny, "cpu").fit(array, "ZCYX").save(tmp_path / "m.safetensors")
    options = ("--model", model, "--device", "cpu", "--report")
    status, said, _ = redenoise("denoise", tmp_path / "in.tif", tmp_path / "out.zarr", *options)
    assert status == 0
    expected = Redenoiser.load(model, "cpu").predict(array, "ZCYX").denoised
    found = read_image(tmp_path / "out.zarr")
    assert found.axes == "CZYX"
    np.testing.assert_allclose(found.array.transpose(1, 0, 2, 3), expected, rtol=1e-5)
    report = said[said.index("\n", said.index("wrote")) + 1 :]
    checked = redenoise("check", tmp_path / "in.tif", tmp_path / "out.zarr", "--model", model)[1]
    assert report == checked


def test_results_are_not_held_in_memory(redenoise, source, model, tmp_path, monkeypatch):
    def held(*_, **__):
        pytest.fail("an array for a whole result is made")

    monkeypatch.setattr("napari_redenoise.model._session.result_array", held)
    monkeypatch.setattr(_result_arrays, "result_array", held)
    options = ("--model", model, "--device", "cpu", "--as-source", "--mask", tmp_path / "m.zarr")
    status, _, errors = redenoise("denoise", source, tmp_path / "out.zarr", *options)
    assert status == 0, errors


def test_a_mask_is_not_made_unasked(redenoise, source, model, tmp_path, monkeypatch):
    made, allocate = [], Session.allocate

    def noted(self, *arguments, **keywords):
        made.append(allocate(self, *arguments, **keywords))
        return made[-1]

    monkeypatch.setattr(Session, "allocate", noted)
    assert redenoise("denoise", source, tmp_path / "out.tif", "--model", model)[0] == 0
    assert [list(one) for one in made] == [["denoised"]]


@pytest.mark.parametrize("kind", ["zarr", "tiff"])
def test_peak_memory_does_not_grow_with_the_number_of_planes(
    redenoise, model, tmp_path, monkeypatch, kind
):
    monkeypatch.setattr(_lazy_images, "MOST_BYTES_IN_MEMORY", 0)
    plane = np.random.default_rng(0).poisson(40, (192, 192)).astype(np.uint16)

    def peak(count: int) -> int:
        path, out = tmp_path / f"{count}.{kind}", tmp_path / f"out-{count}.zarr"
        stack = np.stack([plane + number for number in range(count)])
        if kind == "tiff":
            tifffile.imwrite(path, stack, compression="zlib", photometric="minisblack")
        else:
            write_ome_zarr(path, stack, ImageFile(stack, "ZYX"))
        del stack
        tracemalloc.start()
        try:
            assert redenoise("denoise", path, out, "--model", model, "--device", "cpu")[0] == 0
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    # What the first run keeps, such as modules, is not counted.
    peak(2)
    few, many = peak(4), peak(20)
    assert many - few < 4 * plane.size * 4


def test_existing_and_nested_results_are_refused_before_the_work(
    redenoise, source, model, tmp_path, monkeypatch
):
    monkeypatch.setattr(Redenoiser, "predict_events", lambda *_, **__: pytest.fail("it denoises"))
    out = write_ome_zarr(
        tmp_path / "out.zarr", np.ones((20, 20)), ImageFile(np.ones((20, 20)), "YX")
    )
    for target, words in (
        (out, "exists already"),
        (source, "is the noisy image itself"),
        (source / "out.zarr", "lie one in the other"),
        (source / "out.tif", "lie one in the other"),
        (tmp_path / "out.zarr.zip", "ends in .tif or .zarr"),
    ):
        status, _, errors = redenoise("denoise", source, target, "--model", model)
        assert (status, words in errors) == (1, True), errors
    status, _, errors = redenoise("denoise", source / "0", source, "--model", model, "--overwrite")
    assert (status, "lie one in the other" in errors) == (1, True), errors
    options = ("--model", model, "--mask", tmp_path / "new.zarr" / "mask.tif")
    status, _, errors = redenoise("denoise", source, tmp_path / "new.zarr", *options)
    assert (status, "lie one in the other" in errors) == (1, True), errors
    assert names(tmp_path) == ["in.zarr", "m.safetensors", "out.zarr"]


def test_overwrite_replaces_an_ome_zarr(redenoise, source, model, tmp_path, stack):
    out = write_ome_zarr(
        tmp_path / "out.zarr", np.ones((20, 20)), ImageFile(np.ones((20, 20)), "YX")
    )
    assert redenoise("denoise", source, out, "--model", model, "--overwrite")[0] == 0
    assert read_image(out).array.shape == stack.shape
    assert names(tmp_path) == ["in.zarr", "m.safetensors", "out.zarr"]


def test_a_result_whose_name_is_taken_meanwhile_gets_another(
    redenoise, source, model, tmp_path, monkeypatch
):
    predict, out = Redenoiser.predict_events, tmp_path / "out.zarr"

    def appearing(self, *arguments, **keywords):
        out.write_bytes(b"theirs")
        return predict(self, *arguments, **keywords)

    monkeypatch.setattr(Redenoiser, "predict_events", appearing)
    status, said, _ = redenoise("denoise", source, out, "--model", model)
    assert status == 0
    assert out.read_bytes() == b"theirs"
    assert f"wrote {tmp_path / 'out-1.zarr'}, because out.zarr exists now" in said
    assert read_image(tmp_path / "out-1.zarr").array.shape == (3, 70, 54)


def test_what_ome_zarr_cannot_hold_is_said_before(redenoise, model, tmp_path, noisy):
    tifffile.imwrite(tmp_path / "in.tif", noisy, imagej=True, resolution=(4.0, 4.0),
                     metadata={"axes": "YX", "unit": "parsec"})  # fmt: skip
    status, said, _ = redenoise(
        "denoise", tmp_path / "in.tif", tmp_path / "out.zarr", "--model", model
    )
    assert status == 0
    assert said.startswith("caution: the results lack the unit 'parsec', which OME-Zarr cannot")
