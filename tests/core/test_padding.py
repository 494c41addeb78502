import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_redenoise.nn import pad_to_multiple, padding, reflect_indices


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(0, 130), st.integers(0, 130))
def test_reflected_indices_are_those_of_numpy(size: int, before: int, after: int) -> None:
    expected = np.pad(np.arange(size), (before, after), mode="reflect")
    np.testing.assert_array_equal(reflect_indices(-before, size + after, size), expected)


def test_reflected_indices_can_start_inside() -> None:
    np.testing.assert_array_equal(reflect_indices(3, 8, 6), [3, 4, 5, 4, 3])


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 300), st.sampled_from([2, 4, 8, 32]))
def test_padding_is_symmetric_up_to_the_next_multiple(size: int, multiple: int) -> None:
    before, after = padding(size, multiple)
    total = size + before + after
    assert total % multiple == 0
    assert size <= total < size + multiple
    assert after - before == size % 2 * (total != size)


@pytest.mark.parametrize("size", [(32, 64), (33, 47), (50, 18), (5, 3), (1, 2)])
def test_padding_a_tensor_equals_reflection_of_numpy(size) -> None:
    x = torch.arange(2.0 * size[0] * size[1]).reshape(1, 2, *size)
    padded, (rows, columns) = pad_to_multiple(x, 32)
    margins = [(0, 0), (0, 0), *(padding(side, 32) for side in size)]
    np.testing.assert_array_equal(padded.numpy(), np.pad(x.numpy(), margins, mode="reflect"))
    torch.testing.assert_close(padded[..., rows, columns], x, rtol=0, atol=0)
