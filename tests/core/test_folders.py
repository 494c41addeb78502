import csv
import json
import signal
from pathlib import Path

import numpy as np
import pytest
import skimage.io
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from napari_redenoise import Redenoiser
from napari_redenoise._cli import _evaluate, app
from napari_redenoise.config import Config, FolderConfig
from napari_redenoise.data import ImageFolder
from napari_redenoise.errors import ConfigError, InputError, ModelFileError
from napari_redenoise.io import load_model, save_model
from napari_redenoise.metrics import psnr, ssim
from napari_redenoise.noise import poisson_gaussian
from napari_redenoise.recipes import (
    EpochDone,
    FolderTraining,
    evaluate,
    noise_config,
    scale_normalisation,
)
from napari_redenoise.recipes._evaluation import denoise_image
from napari_redenoise.training import StepDone


def scene(seed: int, size: tuple[int, int] = (48, 40)) -> np.ndarray:
    """A smooth clean image, uint8."""
    y, x = np.mgrid[: size[0], : size[1]]
    image = 120 + 60 * np.sin(y / (5 + seed)) + 50 * np.cos(x / (7 + seed))
    return image.astype(np.uint8)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(5):
        suffix = (".png", ".tif", ".jpg")[number % 3]
        skimage.io.imsave(folder / f"{number}{suffix}", scene(number), check_contrast=False)
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_text("no image")
    return folder


@pytest.fixture
def small(tiny: Config) -> Config:
    return tiny.replace({"training.patch_size": 24, "objective.kind": "noise2noise"})


def run_of(config: Config, images: Path, **settings) -> FolderTraining:
    folder = FolderConfig(**{"epochs": 2, **settings})
    return FolderTraining(config, folder, images, images, "cpu")


# Reading


def test_images_are_listed_by_name_and_brought_to_0_to_255(images: Path) -> None:
    folder = ImageFolder.open(images, 4)
    assert [path.name for path in folder.paths] == ["0.png", "1.tif", "2.jpg", "3.png"]
    assert folder.channels == 1
    np.testing.assert_allclose(folder.read(0), scene(0)[None], atol=1e-4)


@pytest.mark.parametrize(
    ("dtype", "scale"), [(np.uint8, 1.0), (np.uint16, 257.0), (np.float32, 1 / 255)]
)
def test_every_dtype_has_the_same_grey_scale(tmp_path: Path, dtype, scale: float) -> None:
    skimage.io.imsave(tmp_path / "a.tif", (scene(0) * scale).astype(dtype), check_contrast=False)
    np.testing.assert_allclose(ImageFolder.open(tmp_path, 1).read(0)[0], scene(0), atol=1e-3)


def test_colour_and_grey_follow_the_first_image(tmp_path: Path) -> None:
    colour = np.stack([scene(0), scene(1), scene(2)], axis=-1)
    skimage.io.imsave(tmp_path / "a.png", colour, check_contrast=False)
    skimage.io.imsave(tmp_path / "b.png", scene(3), check_contrast=False)
    folder = ImageFolder.open(tmp_path, 2)
    assert folder.channels == 3
    np.testing.assert_allclose(folder.read(0), colour.transpose(2, 0, 1), atol=1e-4)
    np.testing.assert_allclose(folder.read(1), np.stack([scene(3)] * 3), atol=1e-4)
    grey = ImageFolder.open(tmp_path, 2, channels=1).read(0)
    # Weights of Rec. 709.
    expected = 0.2125 * colour[..., 0] + 0.7154 * colour[..., 1] + 0.0721 * colour[..., 2]
    np.testing.assert_allclose(grey[0], expected, atol=1e-3)


def test_folders_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        ImageFolder.open(tmp_path / "none", 3)
    with pytest.raises(InputError, match="holds no images"):
        ImageFolder.open(tmp_path, 3)
    (tmp_path / "a.png").write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"a\.png cannot be read as an image"):
        ImageFolder.open(tmp_path, 3)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.full((20, 20), 300.0, np.float32), "from 300 to 300"),
        (np.zeros((3, 4, 20, 20), np.uint8), "redenoise denoise"),
    ],
)
def test_images_of_unknown_scale_or_shape_are_refused(tmp_path, image, words) -> None:
    skimage.io.imsave(tmp_path / "a.tif", image, check_contrast=False)
    with pytest.raises(InputError, match=words):
        ImageFolder.open(tmp_path, 1).read(0)


# Batches


def batches_of(training: FolderTraining, count: int) -> list:
    stream = training.batches()
    return [next(stream) for _ in range(count)]


def test_an_epoch_shows_every_image_once(small: Config, images: Path) -> None:
    training = run_of(small, images, noise_param=1e-3)
    assert training.steps_per_epoch == 3  # five images, two a step, the last step full
    assert training.config.training.steps == 6
    seen = []
    for batch in batches_of(training, 3):
        for crop in batch.noisy[:, 0]:
            grey = training.normalisation.undo(crop[None].numpy())[0]
            fits = [
                number
                for number in range(5)
                for clean in [training.images.read(number)[0]]
                for windows in [np.lib.stride_tricks.sliding_window_view(clean, grey.shape)]
                if np.abs(windows - grey).max((2, 3)).min() < 0.1
            ]
            assert len(fits) == 1
            seen += fits
    assert len(seen) == 6
    assert set(seen) == set(range(5))


def test_the_noise_level_is_uniform_up_to_its_upper_end(small: Config, images: Path) -> None:
    config = small.replace({"training.batch_size": 5, "training.patch_size": 40})
    training = run_of(config, images, noise_param=50)
    (std,) = training.normalisation.std
    stated, found = [], []
    for batch in batches_of(training, 60):
        first, second = batch.noisy.chunk(2, 1)
        # Two draws of the same scene differ by noise alone.
        found += (((first - second).std((1, 2, 3)) / np.sqrt(2)) * std).tolist()
        stated += [sigma * std for (sigma,) in batch.noise.read_noise]
    np.testing.assert_allclose(found, stated, rtol=0.15)
    assert 0 < min(stated) < 2
    assert 48 < max(stated) <= 50
    assert np.mean(stated) == pytest.approx(25, abs=5 * 50 / np.sqrt(12 * 300))


@pytest.mark.parametrize("kind", ["poisson", "poisson-gaussian"])
def test_photon_noise_has_the_stated_variance(small: Config, images: Path, kind: str) -> None:
    config = small.replace({"training.batch_size": 5, "training.patch_size": 40})
    training = run_of(config, images, noise_type=kind, noise_param=20)
    (mean,), (std,) = training.normalisation.mean, training.normalisation.std
    ratios = []
    for batch in batches_of(training, 20):
        first, second = batch.noisy.chunk(2, 1)
        for number in range(5):
            variance = float((first - second)[number].var()) / 2 * std**2
            level = float((first + second)[number].mean()) / 2 * std + mean
            gain, read_noise = (
                getattr(batch.noise, name)[number][0] * std for name in ("gain", "read_noise")
            )
            assert (read_noise > 0) == (kind == "poisson-gaussian")
            ratios.append(variance / (gain * level + read_noise**2))
    assert np.mean(ratios) == pytest.approx(1, abs=0.05)


def test_clean_targets_are_clean(small: Config, images: Path) -> None:
    training = run_of(small, images, clean_targets=True, noise_param=50)
    (batch,) = batches_of(training, 1)
    sample = training._objective()(batch, torch.Generator())
    for target in training.normalisation.undo(sample.target[:, 0].numpy()[:, None][0]):
        windows = [
            np.lib.stride_tricks.sliding_window_view(training.images.read(number)[0], target.shape)
            for number in range(5)
        ]
        assert min(np.abs(window - target).max((2, 3)).min() for window in windows) < 1e-2


def test_clean_targets_with_another_objective_are_refused(small: Config, images: Path) -> None:
    with pytest.raises(ConfigError, match="leave --clean-targets out"):
        run_of(small.replace({"objective.kind": "noise2void"}), images, clean_targets=True)


# Training


@pytest.mark.parametrize("kind", ["noise2noise", "noise2void", "r2r", "neighbor2neighbor"])
@pytest.mark.parametrize("backbone", ["standard", "equivariant", "adarenet"])
def test_every_objective_and_backbone_trains_on_a_folder(
    small: Config, images: Path, kind: str, backbone: str
) -> None:
    config = small.replace({"objective.kind": kind, "network.kind": backbone})
    events = list(run_of(config, images, epochs=1).events())
    assert [type(event) for event in events] == [StepDone] * 3 + [EpochDone]
    assert np.isfinite([events[-1].loss, events[-1].psnr]).all()


def test_training_makes_the_validation_images_better(small: Config, images: Path) -> None:
    config = small.replace({"network.kind": "standard", "training.batch_size": 5})
    training = run_of(config, images, epochs=60, noise_param=50)
    epochs = [event for event in training.events() if isinstance(event, EpochDone)]
    assert [event.epoch for event in epochs] == list(range(1, 61))
    assert epochs[-1].noisy_psnr == pytest.approx(20.2, abs=0.3)  # 20 log10(255 / 25)
    assert epochs[-1].psnr > epochs[-1].noisy_psnr + 3
    assert epochs[-1].psnr > epochs[0].psnr


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_a_resumed_training_ends_as_one_that_was_not_interrupted(
    small: Config, images: Path, tmp_path: Path, stop: int
) -> None:
    whole = run_of(small, images)
    losses = [event.loss for event in whole.events() if isinstance(event, StepDone)]
    first = run_of(small, images)
    for event in first.events():
        if isinstance(event, StepDone) and event.step == stop:
            break
    first.save_checkpoint(tmp_path / "state.safetensors")
    second = run_of(small, images)
    second.resume(tmp_path / "state.safetensors")
    rest = [event.loss for event in second.events() if isinstance(event, StepDone)]
    assert rest == losses[stop:]
    assert second.state.losses == losses
    for name, value in whole.state.average.state_dict().items():
        torch.testing.assert_close(
            second.state.average.state_dict()[name], value, rtol=0, atol=0, msg=name
        )


def steps_of(training: FolderTraining) -> list[StepDone]:
    return [event for event in training.events() if isinstance(event, StepDone)]


def test_more_epochs_extend_a_run_by_the_longer_schedule(
    small: Config, images: Path, tmp_path: Path
) -> None:
    path = tmp_path / "state.safetensors"
    long = steps_of(run_of(small, images, epochs=5))
    short = run_of(small, images, epochs=2)
    assert steps_of(short)[-1].learning_rate < long[5].learning_rate
    short.save_checkpoint(path)
    extended = run_of(small, images, epochs=5)
    extended.resume(path)
    added = steps_of(extended)
    assert [step.step for step in added] == list(range(7, 16))
    assert [step.learning_rate for step in added] == [step.learning_rate for step in long[6:]]
    assert extended.state.losses[:6] == short.state.losses


def test_an_extended_run_is_resumed_like_any_other(
    small: Config, images: Path, tmp_path: Path
) -> None:
    first = run_of(small, images, epochs=1)
    list(first.events())
    first.save_checkpoint(tmp_path / "first.safetensors")
    whole = run_of(small, images, epochs=3)
    whole.resume(tmp_path / "first.safetensors")
    for event in whole.events():
        if isinstance(event, StepDone) and event.step == 5:
            whole.save_checkpoint(tmp_path / "second.safetensors")
    again = run_of(small, images, epochs=3)
    again.resume(tmp_path / "second.safetensors")
    list(again.events())
    assert again.state.losses == whole.state.losses
    for name, value in whole.state.average.state_dict().items():
        torch.testing.assert_close(
            again.state.average.state_dict()[name], value, rtol=0, atol=0, msg=name
        )


def test_a_resumed_run_cannot_be_shortened_or_changed(
    small: Config, images: Path, tmp_path: Path
) -> None:
    path = tmp_path / "state.safetensors"
    run_of(small, images, epochs=2).save_checkpoint(path)
    with pytest.raises(ModelFileError, match=r"other settings .*folder\.epochs"):
        run_of(small, images, epochs=1).resume(path)
    with pytest.raises(ModelFileError, match=r"other settings \(folder\.noise_param\)"):
        run_of(small, images, epochs=3, noise_param=20).resume(path)


def test_a_checkpoint_may_lack_the_start_of_its_schedule(
    small: Config, images: Path, tmp_path: Path
) -> None:
    path = tmp_path / "state.safetensors"
    first, second = run_of(small, images), run_of(small, images)
    next(first.events())
    first.state.schedule_start = 1
    first.save_checkpoint(path)
    second.resume(path)
    assert (second.state.step, second.state.schedule_start) == (1, 1)
    with safe_open(path, framework="pt") as file:
        header = {name: text for name, text in file.metadata().items() if name != "schedule_start"}
    save_file(load_file(path), path, header)
    second.resume(path)
    assert (second.state.step, second.state.schedule_start) == (1, 0)


def test_a_missing_field_of_a_checkpoint_has_its_default(
    small: Config, images: Path, tmp_path: Path
) -> None:
    path = tmp_path / "state.safetensors"
    run_of(small, images).save_checkpoint(path)
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    settings = json.loads(header["settings"])
    del settings["config"]["objective"]["lines"]
    save_file(load_file(path), path, header | {"settings": json.dumps(settings)})
    run_of(small, images).resume(path)


def test_a_checkpoint_of_other_settings_is_refused(
    small: Config, images: Path, tmp_path: Path
) -> None:
    run_of(small, images).save_checkpoint(tmp_path / "state.safetensors")
    other = run_of(small.replace({"training.loss": "l1"}), images, noise_param=30)
    with pytest.raises(ModelFileError, match=r"config\.training\.loss, folder\.noise_param"):
        other.resume(tmp_path / "state.safetensors")
    with pytest.raises(ModelFileError, match="there is no checkpoint"):
        other.resume(tmp_path / "none.safetensors")
    run_of(small, images).save_model(tmp_path / "model.safetensors")
    with pytest.raises(ModelFileError, match="not a checkpoint of this version"):
        other.resume(tmp_path / "model.safetensors")


def test_evaluation_compares_with_the_clean_image(small: Config, images: Path) -> None:
    training = run_of(small, images)
    folder = ImageFolder.open(images, 2)
    network = training.state.average
    noise = noise_config("gaussian", 25.0)
    found = list(evaluate(network, small, training.normalisation, folder, noise, seed=3))
    again = list(evaluate(network, small, training.normalisation, folder, noise, seed=3))
    assert len(found) == 2
    for done, same in zip(found, again, strict=True):
        np.testing.assert_array_equal(done.noisy, same.noisy)
        assert float((done.noisy - done.clean).std()) == pytest.approx(25, rel=0.1)
        assert done.psnr == psnr(done.denoised, done.clean, 255)
        assert done.noisy_ssim == pytest.approx(ssim(done.noisy[0], done.clean[0], 255))
    assert (found[0].noisy - found[0].clean != found[1].noisy - found[1].clean).all()


# Command line

COLUMNS = "epoch,loss,noisy_psnr,psnr,learning_rate,seconds"
RUN = ["--nb-epochs", "2", "--batch-size", "4", "--crop-size", "24", "--backbone", "standard"]


def invoke(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def train_into(folder: Path, images: Path, *more: str):
    return invoke("train", "--train-dir", images, "--ckpt-save-path", folder, *RUN, *more)


def test_the_command_of_the_paper_trains_and_evaluates(images: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    # Word for word, apart from the folders and the sizes.
    line = (
        f"--train-dir {images} --train-size 50000 --valid-dir {images} --valid-size 3 "
        f"--ckpt-save-path {folder} --nb-epochs 2 --batch-size 4 --loss l2 --noise-type gaussian "
        "--noise-param 50 --seed 1 --crop-size 24 --plot-stats --cuda --report-interval 2"
    )
    done = invoke("train", *line.split())
    assert done.exit_code == 0, done.output
    assert "level 0 to 50 in training, 25 in validation" in done.output
    assert "adarenet" in done.output
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "epoch-001.safetensors",
        "epoch-002.safetensors",
        "loss.png",
        "psnr.png",
        "statistics.csv",
        "training-checkpoint.safetensors",
    }
    with (folder / "statistics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[0]["noisy_psnr"]) == pytest.approx(20.2, abs=0.5)
    _, config, _, provenance, _ = load_model(folder / "epoch-002.safetensors")
    assert config.training.seed == 1
    assert provenance["folder"]["noise_param"] == 50

    out = tmp_path / "evaluation"
    model = folder / "epoch-002.safetensors"
    line = f"evaluate {model} --test-dir {images} --noise-param 25 --out {out}"
    done = invoke(*line.split())
    assert done.exit_code == 0, done.output
    with (out / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["0.png", "1.tif", "2.jpg", "3.png", "4.tif", "mean"]
    values = [float(row["psnr"]) for row in rows]
    assert values[-1] == pytest.approx(np.mean(values[:-1]), abs=1e-3)
    assert f"{values[-1]:.2f}" in done.output
    image = skimage.io.imread(out / "0.png")
    np.testing.assert_array_equal(image[:, -40:], scene(0))
    refused = invoke(*line.split())
    assert "exists already" in str(refused.exception)


def last_of(folder: Path) -> tuple[Config, dict, list[dict[str, str]]]:
    """Configuration and provenance of the last model, and the statistics."""
    _, config, _, provenance, _ = load_model(folder / "epoch-002.safetensors")
    with (folder / "statistics.csv").open() as file:
        return config, provenance, list(csv.DictReader(file))


def test_the_command_line_sets_the_learning_rate(images: Path, tmp_path: Path) -> None:
    rates, losses = {}, {}
    for rate in ("1e-5", "1e-3"):
        done = train_into(tmp_path / rate, images, "--learning-rate", rate)
        assert done.exit_code == 0, done.output
        config, _, rows = last_of(tmp_path / rate)
        assert config.training.learning_rate == float(rate)
        rates[rate] = [float(row["learning_rate"]) for row in rows]
        losses[rate] = [float(row["loss"]) for row in rows]
    # The schedule only scales them.
    np.testing.assert_allclose(rates["1e-3"], 100 * np.array(rates["1e-5"]), rtol=1e-4)
    assert losses["1e-3"] != losses["1e-5"]


def test_the_command_line_sets_the_loss(images: Path, tmp_path: Path) -> None:
    first = {}
    for kind in ("l1", "l2"):
        # So low a rate leaves the network as it began: only the measure of the error differs.
        options = ("--loss", kind, "--learning-rate", "1e-9")
        done = train_into(tmp_path / kind, images, *options)
        assert done.exit_code == 0, done.output
        config, _, rows = last_of(tmp_path / kind)
        assert config.training.loss == kind
        first[kind] = float(rows[0]["loss"])
    assert first["l1"] < np.sqrt(first["l2"])
    training = run_of(last_of(tmp_path / "l1")[0], images)
    batch = next(training.batches())
    sample = training._objective()(batch, torch.Generator())
    with torch.no_grad():
        error = training.state.network(sample.input).denoised - sample.target
    # Of a batch of noise, not of the whole epoch.
    assert first["l1"] == pytest.approx(float(error.abs().mean()), rel=0.5)
    assert first["l2"] == pytest.approx(float(error.square().mean()), rel=0.5)


def test_clean_targets_of_the_command_line_cost_no_noise(images: Path, tmp_path: Path) -> None:
    """The same network and crops: against a noisy target the loss has the target's noise, too."""
    losses = {}
    for name, options in {"noisy": (), "clean": ("--clean-targets",)}.items():
        done = train_into(tmp_path / name, images, "--learning-rate", "1e-9", *options)
        assert done.exit_code == 0, done.output
        _, provenance, rows = last_of(tmp_path / name)
        assert provenance["folder"]["clean_targets"] is (name == "clean")
        losses[name] = float(rows[0]["loss"])
    assert losses["clean"] < losses["noisy"]


def test_ckpt_overwrite_keeps_the_last_model_alone(images: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert train_into(folder, images, "--ckpt-overwrite").exit_code == 0
    models = [path.name for path in folder.glob("*.safetensors")]
    assert sorted(models) == ["model.safetensors", "training-checkpoint.safetensors"]


def test_a_folder_that_holds_a_training_is_not_written_to(images: Path, tmp_path: Path) -> None:
    assert train_into(tmp_path / "run", images).exit_code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    again = train_into(tmp_path / "run", images)
    assert "holds a training: choose another folder" in str(again.exception)
    assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


@pytest.mark.parametrize("when", ["step", "last step", "validation"])
def test_an_interrupted_command_is_resumed(
    images: Path, tmp_path: Path, monkeypatch, when: str
) -> None:
    """Ctrl-C within a step or a validation: both are finished first, and nothing is lost."""
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert train_into(whole, images).exit_code == 0

    def interrupt_at(at: int, call):
        calls: list[int] = []

        def interrupted(*arguments):
            calls.append(1)
            if len(calls) == at:
                signal.raise_signal(signal.SIGINT)
            return call(*arguments)

        return interrupted

    before = signal.getsignal(signal.SIGINT)
    if when == "validation":
        monkeypatch.setattr(FolderTraining, "validate", interrupt_at(1, FolderTraining.validate))
    else:
        # Two steps per epoch, and the objective is asked once in each.
        objective, at = FolderTraining._objective, {"step": 1, "last step": 2}[when]
        monkeypatch.setattr(
            FolderTraining, "_objective", lambda training: interrupt_at(at, objective(training))
        )
    stopped = train_into(run, images)
    assert stopped.exit_code == 130
    assert f"stopped at step {1 if when == 'step' else 2}; continue with --resume" in stopped.output
    assert signal.getsignal(signal.SIGINT) == before
    monkeypatch.undo()
    # A row of an epoch that the state does not hold, as a kill between two writes leaves it.
    with (run / "statistics.csv").open("a") as file:
        file.write("2,1,1,1,1,1\n" if when != "step" else COLUMNS + "\n1,1,1,1,1,1\n")
    assert train_into(run, images, "--resume").exit_code == 0
    assert {path.name for path in run.iterdir()} == {path.name for path in whole.iterdir()}
    with (run / "statistics.csv").open() as file, (whole / "statistics.csv").open() as other:
        rows, expected = ([row["loss"] for row in csv.DictReader(f)] for f in (file, other))
    assert rows == expected
    for name in ("epoch-001.safetensors", "epoch-002.safetensors"):
        tensors, wanted = (load_file(folder / name) for folder in (run, whole))
        for key, value in wanted.items():
            torch.testing.assert_close(tensors[key], value, rtol=0, atol=0)


def test_resume_with_more_epochs_adds_them(images: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train_into(run, images).exit_code == 0
    before = (run / "epoch-002.safetensors").read_bytes()
    done = train_into(run, images, "--resume")
    assert "all 2 epochs are done: give more --nb-epochs to extend the run" in done.output
    done = train_into(run, images, "--resume", "--nb-epochs", "3")
    assert done.exit_code == 0, done.output
    assert "epochs are done" not in done.output
    with (run / "statistics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3"]
    assert (run / "epoch-002.safetensors").read_bytes() == before
    assert load_model(run / "epoch-003.safetensors")[3]["folder"]["epochs"] == 3


def test_a_model_of_an_earlier_training_is_kept(images: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    precious = tmp_path / "run" / "epoch-001.safetensors"
    precious.write_bytes(b"precious")
    assert "holds a training: choose another folder" in str(
        train_into(tmp_path / "run", images).exception
    )
    assert precious.read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--noise-param", "0"), "noise_param"),
        (("--noise-param", "300"), "noise_param"),
        (("--valid-noise-param", "0"), "valid_noise_param"),
        (("--group", "E5"), "group"),
    ],
)
def test_settings_that_cannot_be_are_refused(images, tmp_path, options, words) -> None:
    done = train_into(tmp_path / "run", images, *options)
    assert isinstance(done.exception, ConfigError)
    assert words in str(done.exception)


def test_a_model_denoises_files_like_those_it_was_trained_on(tmp_path: Path) -> None:
    """Of 16 bits, whose grey levels are not counted from 0 to 255 outside of the training."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(2):
        image = scene(number).astype(np.uint16) * 257
        skimage.io.imsave(folder / f"{number}.tif", image, check_contrast=False)
    assert train_into(tmp_path / "run", folder).exit_code == 0
    model = tmp_path / "run" / "epoch-002.safetensors"
    out = tmp_path / "out.tif"
    done = invoke("denoise", folder / "0.tif", out, "--model", model)
    assert done.exit_code == 0, done.output
    network, config, normalisation, *_ = load_model(model)
    assert normalisation.mean == pytest.approx((257 * np.mean([scene(0), scene(1)]),), rel=1e-4)
    of_training = scale_normalisation(normalisation, 1 / 257)
    seen = scene(0)[None].astype(np.float32)
    once, flipped = (
        denoise_image(network, image, config, of_training)[0] for image in (seen, seen[..., ::-1])
    )
    expected = 257 * (once + flipped[..., ::-1]) / 2
    np.testing.assert_allclose(skimage.io.imread(out), expected, rtol=1e-3)
    # The same image of 8 bits is another grey scale.
    skimage.io.imsave(tmp_path / "8.png", scene(0), check_contrast=False)
    refused = invoke("denoise", tmp_path / "8.png", tmp_path / "b.tif", "--model", model)
    assert "the model expects grey levels of" in str(refused.exception)
    # Evaluation counts from 0 to 255 again.
    done = invoke("evaluate", model, "--test-dir", folder, "--noise-param", "25")
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert float(lines[-1].split()[2]) > 5


def test_a_model_of_unknown_grey_scale_needs_a_range(
    small: Config, images: Path, tmp_path: Path
) -> None:
    """As `denoise --save-model` leaves it: nothing is said of what would be white."""
    training = run_of(small, images)
    eight, sixteen = tmp_path / "8.safetensors", tmp_path / "16.safetensors"
    training.save_model(eight)
    units = scale_normalisation(training.normalisation, 257)
    save_model(sixteen, training.state.average, training.config, units, {"steps": 0})

    def scores(model: Path, *more: object) -> list[str]:
        line = ("evaluate", model, "--test-dir", images, "--noise-param", "25", *more)
        done = invoke(*line)
        return [str(done.exception)] if done.exit_code else done.output.splitlines()

    (said,) = scores(sixteen)
    assert "does not store the grey level of white" in said
    assert "give --range" in said
    expected = scores(eight)
    assert scores(sixteen, "--range", 65535) == expected
    # What the model says may be put right.
    assert scores(eight, "--range", 65535) != expected
    for wrong in (0, -1, "nan", "inf"):
        (said,) = scores(sixteen, "--range", wrong)
        assert "give --range, the grey level of white" in said


def test_a_model_of_r2r_draws_the_noise_of_the_files_grey_levels(tmp_path, tiny: Config) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    image = scene(0).astype(np.uint16) * 257
    skimage.io.imsave(folder / "0.tif", image, check_contrast=False)
    training = run_of(
        tiny.replace({"objective.kind": "r2r", "tiling.tta": False}),
        folder,
        noise_type="poisson-gaussian",
        valid_noise_param=20,
    )
    model = Redenoiser.load(training.save_model(tmp_path / "model.safetensors"), "cpu")
    noise = model.session.plan.config.objective.noise
    assert (noise.gain, noise.offset, noise.read_noise) == ((5140.0,), (0.0,), (5140.0,))
    assert training.config.objective.noise.read_noise == (20.0,)
    planned = model.session.plan.config.model_dump(mode="json")
    assert model.session.provenance["config"] == planned
    # In the training's own grey levels the same photons are drawn.
    seen = scene(0)[None].astype(np.float32)
    expected = 257 * denoise_image(
        training.state.average, seen, training.config, training.normalisation
    )
    np.testing.assert_allclose(model.predict(image).denoised, expected[0], rtol=1e-3)


def test_an_r2r_model_measures_the_noise_of_a_new_image(
    images: Path, tmp_path: Path, tiny: Config
) -> None:
    training = run_of(tiny.replace({"objective.kind": "r2r"}), images)
    path = training.save_model(tmp_path / "model.safetensors")
    assert load_model(path)[1].objective.noise.gain == (0.0,)
    photons = np.tile(np.linspace(0, 80, 96), (96, 1))
    noisy = poisson_gaussian(photons, np.random.default_rng(0), gain=3.0, offset=100.0)
    model = Redenoiser.load(path, "cpu").fit(noisy)
    assert model.session.plan.config.objective.noise.gain == pytest.approx((3.0,), rel=0.15)


def test_small_images_and_other_channels_are_refused(tmp_path, small) -> None:
    skimage.io.imsave(tmp_path / "a.png", scene(0, (48, 12)), check_contrast=False)
    with pytest.raises(InputError, match=r"a\.png has 48 x 12 pixels"):
        ImageFolder.open(tmp_path, 1)
    skimage.io.imsave(tmp_path / "a.png", scene(0), check_contrast=False)
    with pytest.raises(InputError, match="the model has 2 channels and images have 1 or 3"):
        ImageFolder.open(tmp_path, 1, channels=2)


def test_without_cuda_the_command_of_the_paper_says_so(images: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    assert "no CUDA device: training on " in train_into(tmp_path / "a", images, "--cuda").output
    refused = train_into(tmp_path / "b", images, "--device", "cuda")
    assert "not available: choose one of" in str(refused.exception)
    assert not (tmp_path / "b").exists()


def test_two_names_for_the_device_are_refused(images: Path, tmp_path: Path) -> None:
    done = train_into(tmp_path / "run", images, "--cuda", "--device", "cpu")
    assert "omit one of them" in str(done.exception)


def test_the_clean_images_are_never_written_over(images: Path, tmp_path: Path) -> None:
    assert train_into(tmp_path / "run", images).exit_code == 0
    before = {path: path.read_bytes() for path in images.iterdir()}
    model = tmp_path / "run" / "epoch-002.safetensors"
    line = f"evaluate {model} --test-dir {images} --noise-param 25 --out {images} --overwrite"
    assert "choose another folder" in str(invoke(*line.split()).exception)
    assert {path: path.read_bytes() for path in images.iterdir()} == before


def test_images_that_differ_in_suffix_have_their_own_montages(images: Path, tmp_path: Path) -> None:
    skimage.io.imsave(images / "0.tif", scene(9), check_contrast=False)
    assert train_into(tmp_path / "run", images).exit_code == 0
    model, out = tmp_path / "run" / "epoch-002.safetensors", tmp_path / "evaluation"
    invoke(*f"evaluate {model} --test-dir {images} --noise-param 25 --out {out}".split())
    assert len(list(out.glob("*.png"))) == 6
    np.testing.assert_array_equal(skimage.io.imread(out / "0.tif.png")[:, -40:], scene(9))


@pytest.mark.parametrize("name", ["0.png", "table.csv"])
def test_files_that_appear_during_an_evaluation_are_kept(
    small: Config, images: Path, tmp_path: Path, monkeypatch, name: str
) -> None:
    run_of(small, images).save_model(model := tmp_path / "m.safetensors")
    out = tmp_path / "evaluation"

    def appearing(*arguments):
        (out / name).write_text("of others")
        yield from evaluate(*arguments)

    monkeypatch.setattr(_evaluate, "evaluate", appearing)
    line = f"evaluate {model} --test-dir {images} --noise-param 25 --out {out}"
    assert "exists already" in str(invoke(*line.split()).exception)
    assert (out / name).read_text() == "of others"
    assert invoke(*line.split(), "--overwrite").exit_code == 0
    assert (out / name).read_bytes() != b"of others"


def test_a_network_of_stacks_is_trained_without_neighbours(small: Config, images: Path) -> None:
    config = small.replace({"network.context": 2})
    training = FolderTraining(config, FolderConfig(epochs=1), images, device="cpu")
    assert training.config.network.context == 0
