import math

import numpy as np
import pytest

from napari_redenoise.nn import DihedralGroup, Group, filter_basis, parse_group
from napari_redenoise.nn.layers._basis import damping, fourier_atoms

SIZES = (3, 5, 7)
GROUPS = [parse_group(name) for name in ("C4", "C8", "C12", "D4", "D8")]
every_group = pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
every_size = pytest.mark.parametrize("kernel_size", SIZES)
golden_cases = pytest.mark.parametrize("case", ["k3_n4", "k3_n8", "k5_n4", "k5_n8", "k7_n8"])


def flat(basis: np.ndarray) -> np.ndarray:
    """(elements * pixels, functions)"""
    return basis.reshape(-1, basis.shape[-1])


def projector(columns: np.ndarray) -> np.ndarray:
    orthonormal = np.linalg.qr(columns)[0]
    return orthonormal @ orthonormal.T


def golden_basis(layers: dict[str, np.ndarray], case: str) -> np.ndarray:
    """The published basis with our order of axes: (elements, k, k, functions)."""
    return layers[f"group_{case}/basis"].astype(np.float64).transpose(2, 0, 1, 3)


@every_size
@every_group
@pytest.mark.parametrize("make", [fourier_atoms, lambda k, g: filter_basis(k, g)[0]])
def test_a_rotation_by_90_degrees_is_rot90_of_the_kernel(make, kernel_size, group) -> None:
    functions = make(kernel_size, group)
    for g in range(group.order):
        rotated = functions[(g + group.order // 4) % group.order]
        np.testing.assert_allclose(rotated, np.rot90(functions[g]), atol=1e-12)


@every_size
@pytest.mark.parametrize("order", [4, 8])
@pytest.mark.parametrize("make", [fourier_atoms, lambda k, g: filter_basis(k, g)[0]])
def test_the_reflection_of_the_group_is_fliplr(make, kernel_size, order) -> None:
    functions = make(kernel_size, DihedralGroup(order))
    np.testing.assert_allclose(functions[order], np.fliplr(functions[0]), atol=1e-12)
    np.testing.assert_allclose(
        functions[order + order // 4], np.rot90(np.fliplr(functions[0])), atol=1e-12
    )


@every_size
def test_atoms_are_the_windowed_waves_of_the_paper(kernel_size: int) -> None:
    p, group = kernel_size, parse_group("C8")
    atoms = fourier_atoms(p, group)
    axis = np.linspace(-1, 1, p)
    frequencies = [a if a <= p / 2 else a - p for a in range(p)]
    for g, i, j, m, n in [(0, 0, 1, 1, 0), (1, 1, 2, 2, 1), (3, 2, 0, 0, 2), (5, 0, 0, 1, 1)]:
        x, y, t = axis[j], axis[i], 2 * math.pi * g / 8
        u = x * math.cos(t) - y * math.sin(t)
        v = x * math.sin(t) + y * math.cos(t)
        window = math.exp(-max(x * x + y * y - 1, 0) / (0.2 if p > 4 else 2))
        phase = math.pi * (p - 1) / p * (frequencies[m] * u + frequencies[n] * v)
        number = m * p + n
        assert atoms[g, i, j, number] == pytest.approx(math.cos(phase) * window, abs=1e-12)
        assert atoms[g, i, j, number + p * p] == pytest.approx(math.sin(phase) * window, abs=1e-12)


@golden_cases
def test_basis_spans_the_same_filters_as_the_published_one(reference_layers, case) -> None:
    k, n = int(case[1]), int(case[4:])
    ours, _ = filter_basis(k, parse_group(f"C{n}"))
    theirs = golden_basis(reference_layers, case)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(projector(flat(ours)), projector(flat(theirs)), atol=1e-6)


@golden_cases
def test_damped_functions_are_as_long_as_the_published_ones(reference_layers, case) -> None:
    k, n = int(case[1]), int(case[4:])
    ours, weight = filter_basis(k, parse_group(f"C{n}"))
    length = np.linalg.norm(flat(ours), axis=0)
    expected = np.linalg.norm(flat(golden_basis(reference_layers, case)), axis=0)
    np.testing.assert_allclose(np.sort(length), np.sort(expected), atol=1e-6)
    np.testing.assert_allclose(length, weight, atol=1e-12)


@every_size
@every_group
def test_functions_are_as_many_as_there_are_large_eigenvalues(kernel_size, group) -> None:
    stacked = flat(fourier_atoms(kernel_size, group))
    eigenvalues = np.linalg.eigvalsh(stacked.T @ stacked)
    basis, weight = filter_basis(kernel_size, group)
    assert basis.shape[-1] == weight.size == np.count_nonzero(eigenvalues > 1e-4)


@every_size
@every_group
def test_functions_are_orthogonal_over_all_elements(kernel_size: int, group: Group) -> None:
    basis, weight = filter_basis(kernel_size, group)
    gram = flat(basis).T @ flat(basis)
    np.testing.assert_allclose(gram, np.diag(weight**2), atol=1e-10)


def test_damping_follows_its_formula_in_a_naive_loop() -> None:
    basis = np.random.default_rng(0).normal(size=(6, 3, 3, 4))
    basis[1:, :, :, 0] = basis[0, :, :, 0]
    expected = []
    for function in range(4):
        sums = [basis[g, :, :, function].sum() ** 2 for g in range(6)]
        energies = [(basis[g, :, :, function] ** 2).sum() for g in range(6)]
        mean = np.mean([s + 9 * e for s, e in zip(sums, energies, strict=True)])
        variation = (np.std(sums) + 9 * np.std(energies)) / mean
        expected.append(1 / max(variation, 0.04) / 25)
    assert expected[0] == pytest.approx(1)
    np.testing.assert_allclose(damping(basis), expected)


def test_a_basis_is_shared_and_therefore_read_only() -> None:
    group = parse_group("C4")
    basis, weight = filter_basis(3, group)
    assert filter_basis(3, group)[0] is basis
    for array in (basis, weight):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
