"""
Invert observations, and edit one
=================================

Real patches are taken into latent space: the latents whose patches come closest. What stays unexplained is set beside
simulated patches of regions that no network here has seen, then one observed region is changed. The twelve samples
were among the 21,000 patches of the training, five times each, and are harder all the same: the simulator is not the
Sun.
"""

# sphinx_gallery_thumbnail_number = 1
import warnings

import matplotlib.pyplot as plt
import numpy as np

import solquery

model = solquery.Model.load()
observed = sorted(solquery.sample_patches(), key=lambda patch: patch.id)[::2]
simulated = [solquery.simulate_region(seed=77, index=index, frames=1)[0] for index in range(6)]

# %%
# Patches far from the training distribution are answered with a warning; here all are looked at.

with warnings.catch_warnings():
    warnings.simplefilter("ignore", solquery.steering.SteeringWarning)
    grids = solquery.prepare_many([*observed, *simulated], model.preset)
    found = solquery.invert(model, grids, starts=2, steps=50)

unexplained = np.array([inversion.unexplained for inversion in found])
print(f"power left unexplained, median: observed {np.median(unexplained[:6]):.0%}, "
      f"simulated {np.median(unexplained[6:]):.0%}")  # fmt: skip

figure, axes = plt.subplots(4, 6, figsize=(9, 6.4), layout="constrained")
for k, (grid, inversion) in enumerate(zip(grids, found, strict=True)):
    top = 0 if k < 6 else 2
    name = observed[k].region if k < 6 else f"simulated {k - 6}"
    for row, picture, title in (
        (top, grid, name),
        (top + 1, inversion.x, f"{inversion.unexplained:.0%} of power left\n|z| {inversion.z_norm:.1f}"),
    ):
        axis = axes[row, k % 6]
        axis.imshow(model.preset.to_gauss(np.asarray(picture)), cmap="gray", vmin=-800, vmax=800, origin="lower")
        axis.set_title(title, fontsize=7)
        axis.set_xticks([])
        axis.set_yticks([])
plt.show()

# %%
# Spots and their places come back, the fine network does not: it is more than a hundred numbers can hold. The one
# that is best explained is now given more separation while its flux is held, with the measured values above.

best = int(np.argmin(unexplained[:6]))
film = solquery.exact_traversal(model, found[best].z, "psep", ("tuf",), spreads=(-0.4, 0.0, 0.4))
pictures = [("observed", grids[best])] + [
    (f"PSEP {separation:.0f} Mm\nTUF {flux:.2g} Mx", x[0])
    for separation, flux, x in zip(film.values["psep"], film.values["tuf"], film.x, strict=True)
]
figure, axes = plt.subplots(1, 4, figsize=(9, 2.7), layout="constrained")
for axis, (title, picture) in zip(axes, pictures, strict=True):
    axis.imshow(model.preset.to_gauss(np.asarray(picture)), cmap="gray", vmin=-800, vmax=800, origin="lower")
    axis.set_title(title, fontsize=8)
    axis.set_xticks([])
    axis.set_yticks([])
plt.show()
