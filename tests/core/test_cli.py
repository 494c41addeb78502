import sys

import numpy as np
import pytest
import skimage.io
import tifffile
from scipy import ndimage
from skimage import data

from napari_redenoise import __version__
from napari_redenoise._cli import _demo
from napari_redenoise.io import load_model


@pytest.fixture
def noisy(tmp_path):
    rng = np.random.default_rng(0)
    clean = 1000 + 300 * ndimage.gaussian_filter(rng.normal(size=(2, 48, 56)), (0, 3, 3))
    path = tmp_path / "noisy.tif"
    image = (clean + rng.normal(0, 50, clean.shape)).astype(np.uint16)
    tifffile.imwrite(
        path,
        image,
        imagej=True,
        resolution=(4.0, 4.0),
        metadata={"axes": "TYX", "unit": "um", "finterval": 0.5},
    )
    return path


def test_an_image_is_denoised_with_its_axes_and_scale(redenoise, noisy, tmp_path):
    before = noisy.read_bytes()
    out, mask, model = tmp_path / "out.tif", tmp_path / "mask.tif", tmp_path / "m.safetensors"
    status, said, _ = redenoise(
        "denoise", noisy, out, "--steps", 1, "--mask", mask, "--save-model", model
    )
    assert status == 0
    assert str(out) in said
    with tifffile.TiffFile(out) as file:
        assert file.series[0].axes == "TYX"
        assert file.series[0].shape == (2, 48, 56)
        assert file.series[0].dtype == np.float32
        assert file.imagej_metadata["unit"] == "um"
        assert file.imagej_metadata["finterval"] == 0.5
        assert file.pages[0].tags["XResolution"].value[0] / file.pages[0].tags["XResolution"].value[
            1
        ] == pytest.approx(4.0)
    values = tifffile.imread(mask)
    assert values.shape == (2, 48, 56)
    assert 0 <= values.min() <= values.max() <= 1
    assert noisy.read_bytes() == before

    again = tmp_path / "again.tif"
    assert redenoise("denoise", noisy, again, "--model", model)[0] == 0
    np.testing.assert_allclose(tifffile.imread(again), tifffile.imread(out), rtol=1e-4, atol=1e-2)


def test_results_too_large_for_memory_are_written_alike(redenoise, noisy, tmp_path, monkeypatch):
    def run(name):
        paths = [tmp_path / f"{name}-{kind}.tif" for kind in ("denoised", "mask")]
        options = ("--mask", paths[1], "--steps", 1, "--report")
        status, said, errors = redenoise("denoise", noisy, paths[0], *options)
        assert status == 0, errors
        return [path.read_bytes() for path in paths], said.replace(name, "")

    in_memory = run("memory")
    monkeypatch.setattr("napari_redenoise.io._result_arrays.MOST_BYTES_IN_MEMORY", 0)
    assert run("disk") == in_memory


def test_an_existing_result_needs_overwrite(redenoise, noisy, tmp_path):
    out = tmp_path / "out.tif"
    out.write_bytes(b"precious")
    status, _, said = redenoise("denoise", noisy, out, "--steps", 1)
    assert status == 1
    assert "exists already" in said
    assert out.read_bytes() == b"precious"
    assert redenoise("denoise", noisy, out, "--steps", 1, "--overwrite")[0] == 0
    assert tifffile.imread(out).shape == (2, 48, 56)


def test_the_source_is_never_overwritten(redenoise, noisy):
    before = noisy.read_bytes()
    status, _, said = redenoise("denoise", noisy, noisy, "--steps", 1, "--overwrite")
    assert status != 0
    assert "noisy image itself" in said
    assert noisy.read_bytes() == before


def test_an_existing_model_is_refused_before_training(redenoise, noisy, tmp_path):
    model, out = tmp_path / "m.safetensors", tmp_path / "out.tif"
    model.write_bytes(b"precious")
    status, _, said = redenoise("denoise", noisy, out, "--steps", 1, "--save-model", model)
    assert status == 1
    assert "exists already" in said
    assert model.read_bytes() == b"precious"
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("denoise", "missing.tif", "out.tif"), "there is no image file"),
        (("denoise", "{noisy}", "out.png"), ".tif"),
        (("denoise", "{noisy}", "out.tif", "--axes", "YX"), "axes"),
        (("denoise", "{noisy}", "out.tif", "--model", "missing.safetensors"), "no model file"),
        (("denoise", "{noisy}", "out.tif", "--device", "abacus"), "not available"),
        (
            ("denoise", "{noisy}", "out.tif", "--backbone", "standard", "--mask", "m.tif"),
            "fusion mask",
        ),
    ],
)
def test_mistakes_are_answered_with_one_sentence(
    redenoise, noisy, tmp_path, monkeypatch, arguments, words
):
    monkeypatch.chdir(tmp_path)
    status, _, said = redenoise(*(argument.format(noisy=noisy) for argument in arguments))
    assert status != 0
    assert words in said
    assert "Traceback" not in said
    assert not (tmp_path / "out.tif").exists()


def test_no_two_results_share_a_name(redenoise, noisy, tmp_path):
    out = tmp_path / "out.tif"
    status, _, said = redenoise("denoise", noisy, out, "--mask", out, "--overwrite")
    assert status == 1
    assert "same name" in said


def test_the_source_is_never_replaced_by_a_model(redenoise, noisy, tmp_path):
    before = noisy.read_bytes()
    out = tmp_path / "out.tif"
    status, _, said = redenoise("denoise", noisy, out, "--save-model", noisy, "--overwrite")
    assert status == 1
    assert "noisy image itself" in said
    assert noisy.read_bytes() == before


@pytest.mark.parametrize(
    "line",
    ["denoise {} {}/out.tif", "noise {} --plot {}/plot.png", "export {} {}/network.pt2"],
)
def test_a_refusal_leaves_no_new_folder(redenoise, tmp_path, line):
    broken, new = tmp_path / "broken.safetensors", tmp_path / "new"
    broken.write_bytes(b"broken")
    status, _, _ = redenoise(*line.format(broken, new / "deep").split())
    assert status
    assert not new.exists()


def test_new_folders_of_results_are_made(redenoise, noisy, tmp_path):
    plot = tmp_path / "new" / "deep" / "plot.png"
    assert redenoise("noise", noisy, "--plot", plot)[0] == 0
    assert plot.exists()


def test_an_unwritable_folder_is_refused_before_training(redenoise, noisy, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    status, said, errors = redenoise("denoise", noisy, tmp_path / "file" / "out.tif")
    assert status == 1
    assert "cannot be written" in errors
    assert "training" not in said + errors


def test_settings_of_a_training_are_refused_where_there_is_none(redenoise, noisy, tmp_path):
    status, _, said = redenoise(
        "denoise", noisy, tmp_path / "out.tif", "--model", "m.safetensors", "--steps", 3
    )
    assert status == 1
    assert "--model does not train" in said


def test_the_demo_needs_overwrite_to_replace_files(redenoise, tmp_path):
    (tmp_path / "noisy.tif").write_bytes(b"precious")
    status, _, said = redenoise("demo", "--out", tmp_path, "--steps", 1, "--no-viewer")
    assert status == 1
    assert "exists already" in said
    assert (tmp_path / "noisy.tif").read_bytes() == b"precious"


def test_the_version_is_shown(redenoise):
    assert redenoise("--version")[1].strip() == __version__


def test_the_demo_writes_its_images_and_a_montage(redenoise, tmp_path):
    status, said, _ = redenoise("demo", "--out", tmp_path / "demo", "--steps", 1, "--no-viewer")
    assert status == 0
    assert "dB noisy" in said
    names = sorted(path.name for path in (tmp_path / "demo").iterdir())
    assert names == ["before-after.png", "denoised.tif", "fusion-mask.tif", "noisy.tif"]
    noisy = tifffile.imread(tmp_path / "demo" / "noisy.tif")
    montage = skimage.io.imread(tmp_path / "demo" / "before-after.png")
    assert montage.shape == (noisy.shape[0], 3 * noisy.shape[1])
    assert montage.std() > 10


def test_the_demo_opens_napari_where_there_is_a_display(redenoise, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(_demo, "_has_display", lambda: True)
    monkeypatch.setattr(_demo, "find_spec", lambda name: name == "napari")

    def run(command, check):
        calls.append(command)
        return _demo.subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(_demo.subprocess, "run", run)
    status, _, said = redenoise("demo", "--out", tmp_path, "--steps", 1)
    assert status == 0
    assert "could not open" in said
    assert calls[0][:3] == [sys.executable, "-m", "napari"]
    assert str(tmp_path / "denoised.tif") in calls[0]


def config_of(path):
    return load_model(path)[1]


def test_objectives_are_chosen_and_their_settings_kept(redenoise, noisy, tmp_path):
    def run(name, *options):
        out, model = tmp_path / f"{name}.tif", tmp_path / f"{name}.safetensors"
        status, _, said = redenoise(
            "denoise", noisy, out, "--steps", 1, "--save-model", model, *options
        )
        assert status == 0, said
        return config_of(model).objective

    second = tmp_path / "second.tif"
    tifffile.imwrite(second, tifffile.imread(noisy) + 1, imagej=True, metadata={"axes": "TYX"})
    # White noise of constant variance; only the pretrained network needs it.
    assert run("a").kind == "r2r"
    assert run("random", "--from-scratch").kind == "noise2self"
    assert run("b", "--objective", "noise2noise").kind == "noise2noise"
    assert run("c", "--objective", "noise2noise", "--target", second).kind == "noise2noise"
    found = run("d", "--objective", "r2r", "--noise", "2.5,900,8").noise
    assert (found.gain, found.offset, found.read_noise) == ((2.5,), (900.0,), (8.0,))
    shapes = {
        "horizontal": ("111111111",),
        "vertical": ("1",) * 9,
        "010/111/010": ("010", "111", "010"),
    }
    for number, (text, shape) in enumerate(shapes.items()):
        options = ("--objective", "noise2void", "--mask-shape", text)
        assert run(f"e{number}", *options).mask_shape == shape


def mean_of(model):
    return load_model(model)[2].mean


@pytest.mark.parametrize("shape", ["plane", "stack"])
def test_training_looks_only_where_the_region_is_not_zero(redenoise, noisy, tmp_path, shape):
    image = tifffile.imread(noisy)
    inside = np.zeros(image.shape, np.uint8)
    inside[:, 8:30, 20:50] = 3
    region, expected = tmp_path / "region.png", image[:, 8:30, 20:50]
    if shape == "stack":
        region = tmp_path / "region.tif"
        inside[0], expected = 0, expected[1]
    # A single plane may be an image of another kind.
    skimage.io.imsave(region, inside[0] if shape == "plane" else inside, check_contrast=False)
    out, model = tmp_path / "out.tif", tmp_path / "m.safetensors"
    options = ("--steps", 1, "--from-scratch", "--backbone", "standard", "--save-model", model)
    status, _, said = redenoise("denoise", noisy, out, "--region", region, *options)
    assert status == 0, said
    assert mean_of(model) == pytest.approx((expected.mean(),), rel=1e-5)
    assert load_model(model)[3]["region"] is True
    assert tifffile.imread(out).shape == image.shape


def test_denoise_prints_the_noise_of_r2r(redenoise, tmp_path):
    image, out, model = (tmp_path / name for name in ("a.tif", "b.tif", "model.safetensors"))
    light = np.tile(np.linspace(0, 80, 96), (96, 1))
    tifffile.imwrite(image, (100 + 3 * np.random.default_rng(0).poisson(light)).astype(np.uint16))
    scratch = ("--from-scratch", "--backbone", "standard")
    wanted = ("--objective", "r2r", "--steps", 1, "--save-model", model)
    status, said, errors = redenoise("denoise", image, out, *wanted, *scratch)
    assert status == 0, errors
    noise = config_of(model).objective.noise
    assert noise.gain == pytest.approx((3.0,), rel=0.1)
    (line,) = (line for line in said.splitlines() if line.startswith("objective r2r"))
    assert line == (
        f"objective r2r: gain {noise.gain[0]:.4g}, offset {noise.offset[0]:.4g}, "
        f"read noise {noise.read_noise[0]:.4g} grey levels"
    )
    _, again, _ = redenoise("denoise", image, out, "--model", model, "--overwrite")
    assert line in again.splitlines()
    options = ("--objective", "r2r", "--steps", 1, "--noise", "0,0,8", "--overwrite")
    _, given, _ = redenoise("denoise", image, out, *options)
    assert "objective r2r: Gaussian noise of standard deviation 8 grey levels" in given.splitlines()
    # Neither the pretrained network nor a fine-tuned one averages draws of noise.
    _, kept, _ = redenoise("denoise", image, out, "--steps", 0, "--overwrite")
    assert "objective" not in kept
    redenoise("denoise", image, out, *wanted, "--overwrite")
    _, tuned, _ = redenoise("denoise", image, out, "--model", model, "--overwrite")
    assert "objective" not in tuned


def test_denoise_warns_of_structure_that_it_would_smooth(redenoise, noisy, tmp_path):
    image, out = (tmp_path / name for name in ("a.tif", "b.tif"))
    tifffile.imwrite(image, data.camera()[128:384, 64:320])
    _, said, _ = redenoise("denoise", image, out, "--steps", 0)
    assert said.startswith("caution: the pretrained network would remove ")
    assert "fine-tune it to keep the structure" in said
    _, said, _ = redenoise("denoise", noisy, out, "--steps", 0, "--overwrite")
    assert "caution" not in said
    tifffile.imwrite(image, data.astronaut()[:64, :64], photometric="rgb")
    status, _, errors = redenoise("denoise", image, out, "--steps", 0, "--overwrite")
    assert status == 0, errors
    together = ("--set", "network.channel_mode=together")
    status, _, errors = redenoise("denoise", image, out, "--steps", 0, "--overwrite", *together)
    assert status == 1
    assert "0 steps leave random weights" in errors


def test_denoise_prints_the_line_correction(redenoise, tmp_path):
    image, out, model = (tmp_path / name for name in ("a.tif", "b.tif", "model.safetensors"))
    rng = np.random.default_rng(0)
    light = 100 + 200 * (np.sin(np.arange(256) / 20) * np.cos(np.arange(256)[:, None] / 30)) ** 2
    rows = rng.normal(0, 5, (256, 1))
    tifffile.imwrite(image, (light + rows + rng.normal(0, 10, (256, 256))).astype(np.float32))
    scratch = ("--from-scratch", "--backbone", "standard", "--objective", "auto", "--steps", 1)
    status, said, errors = redenoise("denoise", image, out, *scratch, "--save-model", model)
    assert status == 0, errors
    objective = config_of(model).objective
    assert objective.lines == "rows"
    first, second = (line for line in said.splitlines() if "wrote" not in line)
    assert first == "line correction: offsets of rows are subtracted"
    assert second == f"objective {objective.kind}: the noise is independent from pixel to pixel"
    denoised = tifffile.imread(out)
    status, said, errors = redenoise("denoise", image, out, "--steps", 0, "--overwrite")
    assert said.splitlines()[0] == "line correction: offsets of rows are subtracted", errors
    # An exported network sees what it is given.
    _, _, errors = redenoise("export", model, tmp_path / "model.pt2")
    assert "which the exported network does not include" in errors
    # A model that is read subtracts again.
    redenoise("denoise", image, out, "--model", model, "--overwrite")
    np.testing.assert_allclose(tifffile.imread(out), denoised, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--region", "small"), "region of shape (2, 48, 56) or (48, 56), got (2, 40, 56)"),
        (("--region", "nothing.tif"), "there is no image file"),
        (("--model", "small", "--region", "small"), "does not train"),
        (("--objective", "noise2noise", "--target", "small"), "the same scene"),
        (("--target", "small"), "leave the target out"),
        (("--mask-shape", "horizontal"), "only noise2void"),
        (("--objective", "noise2void", "--mask-shape", "01"), "odd"),
        (("--noise", "2,100,5"), "only r2r"),
        (("--objective", "r2r", "--noise", "2"), "gain, offset and read noise"),
        (("--objective", "r2r", "--noise", "0,0,0"), "both 0"),
        (("--objective", "r2r", "--noise=-1,0,0"), "cannot be negative"),
        (("--objective", "r2r", "--noise", "nan,0,5"), "cannot be negative"),
        (("--model", "small", "--objective", "r2r"), "does not train"),
        (("--model", "small", "--target", "small"), "does not train"),
    ],
)
def test_impossible_objectives_are_refused_in_one_sentence(
    redenoise, noisy, tmp_path, options, words
):
    small = tmp_path / "small.tif"
    tifffile.imwrite(small, tifffile.imread(noisy)[:, :40], imagej=True, metadata={"axes": "TYX"})
    options = [small if option == "small" else option for option in options]
    status, _, said = redenoise("denoise", noisy, tmp_path / "out.tif", "--steps", 1, *options)
    assert status == 1
    assert words in said
    assert said.splitlines()[-1].startswith("redenoise: ")
    assert "Traceback" not in said
    assert "Value error" not in said
    assert not (tmp_path / "out.tif").exists()


def test_inputs_are_never_overwritten(redenoise, noisy, tmp_path):
    second = tmp_path / "second.tif"
    second.write_bytes(noisy.read_bytes())
    before = second.read_bytes()
    options = ("--objective", "noise2noise", "--target", second, "--overwrite", "--steps", 1)
    for targets in ((second,), (tmp_path / "out.tif", "--mask", second)):
        status, _, said = redenoise("denoise", noisy, *targets, *options)
        assert status == 1
        assert "is read by this command" in said
    assert second.read_bytes() == before
    status, _, said = redenoise("denoise", noisy, second, "--region", second, "--overwrite")
    assert status == 1
    assert "is read by this command" in said
    assert second.read_bytes() == before


def test_the_same_file_is_no_second_shot(redenoise, noisy, tmp_path):
    options = ("--objective", "noise2noise", "--target", noisy, "--steps", 1)
    status, _, said = redenoise("denoise", noisy, tmp_path / "out.tif", *options)
    assert status == 1
    assert "another shot" in said
