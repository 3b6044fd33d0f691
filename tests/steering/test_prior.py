"""The prior of the latent vectors: between which lengths nearly all of them lie."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaincinv

from solquery.steering.latents import prior_norm_range


def test_the_quantiles_of_the_prior_are_those_of_scipy():
    for dim in (1, 2, 7, 64, 100):
        wanted = np.sqrt(2.0 * gammaincinv(dim / 2.0, [5e-5, 1 - 5e-5]))
        np.testing.assert_allclose(prior_norm_range(dim), wanted, rtol=1e-9)
