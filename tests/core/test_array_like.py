"""What users give as images: taken, or refused in one sentence."""

import dask.array as da
import numpy as np
import pytest
import torch
import zarr
from scipy import sparse

from napari_redenoise import Redenoiser, assess, equivariance
from napari_redenoise.data import Planes, as_array
from napari_redenoise.errors import InputError
from napari_redenoise.model import measure_noise

WHOLE = slice(None)


def frame(values):
    """A data frame, where there are such: the package does not need pandas."""
    return pytest.importorskip("pandas").DataFrame(values)


@pytest.fixture
def counts() -> np.ndarray:
    return np.random.default_rng(0).poisson(50, (48, 40)).astype(np.float32)


FORMS = {
    "tensor": torch.from_numpy,
    "tensor with a gradient": lambda a: torch.from_numpy(a).requires_grad_(),
    "tensor of inference": lambda a: torch.inference_mode()(torch.from_numpy)(a),
    "parameter": lambda a: torch.nn.Parameter(torch.from_numpy(a)),
    "bfloat16": lambda a: torch.from_numpy(a).bfloat16(),
    "transposed": lambda a: torch.from_numpy(np.ascontiguousarray(a.T)).T,
    "sparse tensor": lambda a: torch.from_numpy(a).to_sparse(),
    "sparse matrix": sparse.csr_array,
    "data frame": frame,
    "data frame of integers that may be missing": lambda a: frame(a).astype(int),
    "rows of a list": list,
    "numbers": lambda a: a.tolist(),
    "list of tensors": lambda a: list(torch.from_numpy(a)),
    "tuple": tuple,
    "matrix": np.matrix,
    "zarr": lambda a: zarr.array(a),
    "dask": lambda a: da.from_array(a, chunks=7),
    "masked nowhere": np.ma.masked_array,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_an_array_has_its_pixels(counts: np.ndarray, form: str) -> None:
    given = FORMS[form](counts)
    array = as_array(given)
    assert tuple(array.shape) == counts.shape
    assert np.dtype(array.dtype).kind in "fi"
    np.testing.assert_array_equal(Planes(given, "YX").read((), WHOLE, WHOLE)[0], counts)
    np.testing.assert_array_equal(
        Planes(given, "YX").read((), slice(3, 9), slice(5, 6))[0], counts[3:9, 5:6]
    )


def test_lazy_and_other_arrays_keep_their_type(counts: np.ndarray) -> None:
    for given in (counts, FORMS["dask"](counts), FORMS["zarr"](counts)):
        assert as_array(given) is given
        assert Planes(given, "YX").array is given


def test_a_tensor_on_the_processor_is_not_copied(counts: np.ndarray) -> None:
    assert np.shares_memory(as_array(torch.from_numpy(counts)), counts)


UNKNOWN = "axis of unknown length .shape .*: call its compute_chunk_sizes"
NO_NUMBERS = "is not an array of numbers: give a numpy array"
PIXELS = "integer or floating-point pixels, got .*: convert the image"
NO_IMAGE = "an object of type .* is not an image: give an array"
REFUSED = {
    "ragged": (lambda a: [[1, 2], [3]], NO_NUMBERS),
    "ragged images": (lambda a: [a, a[:, :20]], NO_NUMBERS),
    "tensors with gradients": (
        lambda a: [torch.from_numpy(row).requires_grad_() for row in a],
        NO_NUMBERS,
    ),
    "tensor without pixels": (lambda a: torch.empty(a.shape, device="meta"), NO_NUMBERS),
    "unknown size": (lambda a: (lambda d: d[d[:, 0] > 0])(da.from_array(a)), UNKNOWN),
    "complex tensor": (lambda a: torch.from_numpy(a).to(torch.complex64), PIXELS),
    "bool tensor": (lambda a: torch.from_numpy(a) > 50, PIXELS),
    "mixed data frame": (lambda a: frame(a).assign(name="cell"), PIXELS),
    "texts": (lambda a: a.astype(str).tolist(), PIXELS),
    "masked bool": (lambda a: np.ma.masked_array(a > 50, a > 60), PIXELS),
    "a series": (lambda a: frame(a)[0], "2 to 5 axes, got 1"),
    "a scalar tensor": (lambda a: torch.tensor(1.0), NO_IMAGE),
    "a path": (lambda a: "image.tif", NO_IMAGE),
    "nothing": (lambda a: None, NO_IMAGE),
    "an object": (lambda a: object(), NO_IMAGE),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_image_is_refused_in_one_sentence(counts: np.ndarray, name: str) -> None:
    make, words = REFUSED[name]
    model = Redenoiser(device="cpu")
    for call in (model.plan, measure_noise, model.fit, lambda image: assess(image, image)):
        with pytest.raises(InputError, match=words) as caught:
            call(make(counts))
        assert "\n" not in str(caught.value)
        assert ": " in str(caught.value)


DTYPES = {
    "uint8": "float32",
    "int16": "float32",
    "uint16": "float32",
    "float16": "float32",
    "float32": "float32",
    "int32": "float64",
    "uint64": "float64",
    "float64": "float64",
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["numpy", "dask"])
def test_masked_pixels_are_nan_and_no_others_change(dtype: str, form: str) -> None:
    values = np.arange(60).reshape(3, 20).repeat(8, 0).astype(dtype)
    given = np.ma.masked_array(values, values % 7 == 0)
    given.data[given.mask] = 99
    before = given.copy()
    array = given if form == "numpy" else da.from_array(given, chunks=9)
    window = Planes(array, "YX").read((), slice(2, 20), WHOLE)[0]
    expected = np.where(given.mask, np.nan, given.data)[2:20]
    assert type(window) is np.ndarray
    assert window.dtype == DTYPES[dtype]
    np.testing.assert_array_equal(window, expected)
    np.testing.assert_array_equal(given.data, before.data)
    np.testing.assert_array_equal(given.mask, before.mask)


def test_masks_in_a_list_are_not_forgotten(counts: np.ndarray) -> None:
    frames = [np.ma.masked_less(counts, limit) for limit in (40, 55)]
    planes = Planes(frames, "TYX")
    for number, limit in enumerate((40, 55)):
        window = planes.read((number,), WHOLE, WHOLE)[0]
        np.testing.assert_array_equal(np.isnan(window), counts < limit)


def test_masked_pixels_affect_neither_training_nor_result(tiny, counts: np.ndarray) -> None:
    image = np.ma.masked_array(counts, np.zeros(counts.shape, bool))
    image[3:9, 3:9] = 1e6
    image[3:9, 3:9] = np.ma.masked
    model = Redenoiser(tiny, "cpu").fit(image)
    assert model.session.normalisation.mean[0] == pytest.approx(50, abs=2)
    denoised = model.predict(image).denoised
    np.testing.assert_array_equal(np.isnan(denoised), image.mask)
    assert np.nanmax(denoised) < 200


@pytest.mark.parametrize("form", ["tensor", "data frame", "numbers"])
def test_every_form_is_trained_on_and_denoised_alike(tiny, counts: np.ndarray, form: str) -> None:
    expected = Redenoiser(tiny, "cpu").fit(counts).predict(counts).denoised
    given = FORMS[form](counts)
    model = Redenoiser(tiny, "cpu").fit(given)
    np.testing.assert_array_equal(model.predict(given).denoised, expected)
    assert model.session.provenance["shape"] == list(counts.shape)
    assert assess(given, FORMS[form](expected)).checks
    same = equivariance(model, counts)
    assert equivariance(model, given).errors == same.errors


REGIONS = {
    "tensor": torch.from_numpy,
    "list": lambda region: region.tolist(),
    "data frame": frame,
    "masked": lambda region: np.ma.masked_array(np.ones_like(region), ~region),
    "masked labels": lambda region: np.ma.masked_array(np.full(region.shape, 5), ~region),
}


@pytest.mark.parametrize("form", REGIONS)
def test_a_region_may_have_every_form_too(counts: np.ndarray, form: str) -> None:
    region = np.zeros(counts.shape, bool)
    region[8:30, 4:20] = True
    planes = Planes(counts, "YX", REGIONS[form](region))
    np.testing.assert_array_equal(planes.inside((), WHOLE, WHOLE), region)
