import numpy as np
import pytest

from napari_redenoise.errors import ConfigError
from napari_redenoise.nn import CyclicGroup, DihedralGroup, Group, parse_group

GROUPS = [*map(CyclicGroup, (1, 2, 3, 4, 6, 8, 12)), *map(DihedralGroup, (1, 2, 3, 4, 6, 8))]
every_group = pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)


def element_of_matrix(group: Group, matrix: np.ndarray) -> int:
    """The one element whose coordinate map is this matrix."""
    distance = np.abs(group.coordinate_maps - matrix).max((1, 2))
    (found,) = np.flatnonzero(distance < 1e-9)
    return int(found)


@every_group
def test_product_is_composition_of_the_coordinate_maps(group: Group) -> None:
    # (g (h f))(p) = (h f)(M_g p) = f(M_h M_g p), hence M_gh = M_h M_g.
    maps = group.coordinate_maps
    for g in range(len(group)):
        for h in range(len(group)):
            assert group.product[g, h] == element_of_matrix(group, maps[h] @ maps[g])


@every_group
def test_inverse_undoes_every_element(group: Group) -> None:
    for g in range(len(group)):
        expected = element_of_matrix(group, np.linalg.inv(group.coordinate_maps[g]))
        assert group.inverse[g] == expected


@every_group
def test_relative_times_the_observer_gives_back_what_is_observed(group: Group) -> None:
    maps = group.coordinate_maps
    for g in range(len(group)):
        for h in range(len(group)):
            # M_{g^-1 h} = M_h M_g^-1
            expected = element_of_matrix(group, maps[h] @ np.linalg.inv(maps[g]))
            assert group.relative[g, h] == expected


def test_dihedral_groups_do_not_commute_and_cyclic_ones_do() -> None:
    dihedral, cyclic = DihedralGroup(4).product, CyclicGroup(8).product
    assert (dihedral != dihedral.T).any()
    np.testing.assert_array_equal(cyclic, cyclic.T)


@every_group
def test_exact_elements_are_those_whose_matrix_holds_integers(group: Group) -> None:
    maps = group.coordinate_maps
    integral = np.abs(maps - np.round(maps)).max((1, 2)) < 1e-9
    assert group.exact_elements == tuple(np.flatnonzero(integral))


@pytest.mark.parametrize("name", ["C4", "C8", "D4", "D12"])
def test_exact_elements_move_pixels_as_their_matrix_does(name: str) -> None:
    group = parse_group(name)
    y, x = np.mgrid[-2:3, -2:3]
    pixels = np.random.default_rng(0).normal(size=(5, 5))
    for g in group.exact_elements:
        # (g f)(p) = f(M_g p), looked up pixel by pixel.
        column, row = np.round(np.einsum("ij,jyx->iyx", group.coordinate_maps[g], [x, y]))
        expected = pixels[row.astype(int) + 2, column.astype(int) + 2]
        flipped = np.fliplr(pixels) if group.is_reflection(g) else pixels
        np.testing.assert_array_equal(np.rot90(flipped, group.quarter_turns(g)), expected)


@pytest.mark.parametrize(
    ("name", "size", "has_reflections"), [("C1", 1, False), ("C12", 12, False), ("D8", 16, True)]
)
def test_a_name_is_read_and_given_back(name: str, size: int, has_reflections: bool) -> None:
    group = parse_group(name)
    assert (len(group), group.has_reflections, group.name) == (size, has_reflections, name)


@pytest.mark.parametrize("name", ["", "C", "C0", "c4", "E4", "C-4", "C4 ", "4", "D4x", "C4.0"])
def test_an_unknown_name_is_refused_with_examples(name: str) -> None:
    with pytest.raises(ConfigError, match=r"unknown: give C4, C8, D4"):
        parse_group(name)


def test_a_group_without_elements_is_refused() -> None:
    with pytest.raises(ConfigError, match="order of a group is at least 1, got 0: give"):
        CyclicGroup(0)
