import numpy as np
import pytest

from solquery.steering import SteeringError, best_axes, project


def plane(seed, dim=100):
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=dim)
    normal /= np.linalg.norm(normal)
    return rng.normal(size=(500, dim)).astype(np.float32), normal, rng.normal()


def test_it_is_the_transform_of_the_paper():
    z, n, _ = plane(0)
    points = project(z, n).points
    np.testing.assert_allclose(points[:, 0], z[:, 0])
    np.testing.assert_allclose(points[:, 1], (z[:, 1:] * n[1:] / n[1]).sum(1), atol=1e-9)


@pytest.mark.parametrize("axes", [(0, 1), (7, 3)])
@pytest.mark.parametrize("seed", range(4))
def test_points_keep_their_side_of_the_boundary(seed, axes):
    z, n, b = plane(seed)
    np.testing.assert_array_equal(project(z, n, b, axes).side(), z @ n + b > 0)


def test_points_of_the_hyperplane_lie_on_the_line():
    z, n, b = plane(5)
    on = z - np.outer(z @ n + b, n)
    flat = project(on, n, b, best_axes(n))
    np.testing.assert_allclose(flat.points[:, 1], flat.line(flat.points[:, 0]), atol=1e-5)


def test_best_axes_are_the_heaviest_with_the_heaviest_as_ordinate():
    assert best_axes([0.1, -0.9, 0.2, 0.5]) == (3, 1)


def test_vanishing_second_component_is_an_error():
    with pytest.raises(SteeringError, match="latent number 1; choose axes=best_axes"):
        project(np.ones((2, 3)), [1.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="two different"):
        project(np.ones((2, 3)), [1.0, 0.0, 0.0], axes=(1, 1))
