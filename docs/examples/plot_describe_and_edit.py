"""
Describe a region, change one thing
===================================

A description becomes numbers, and the numbers a patch. Then its unsigned flux is changed along a direction in latent
space while the separation of the polarities is held.
"""

# sphinx_gallery_thumbnail_number = 2
import matplotlib.pyplot as plt
import numpy as np

import solquery

model = solquery.Model.load()
words = "strong, widely separated bipole, leading polarity negative"
answers = solquery.generate(model, words, n=4, seed=4)
for answer in answers:
    print(answer.verdict, {name: f"{answer.measured[name]:.4g}" for name in answer.requested})


def show(axis, grid, title):
    axis.imshow(model.preset.to_gauss(np.asarray(grid)), cmap="gray", vmin=-1000, vmax=1000, origin="lower")
    axis.set_title(title, fontsize=8)
    axis.set_xticks([])
    axis.set_yticks([])


figure, axes = plt.subplots(1, 4, figsize=(9, 2.6), layout="constrained")
for axis, answer in zip(axes, answers, strict=True):
    show(axis, answer.x, f"{answer.verdict}, |z| = {answer.z_norm:.1f}")
plt.show()

# %%
# The first of them, moved along the direction of the flux. What was held moves less than it would have, and is
# measured on every frame.

row = solquery.latent_traversal(model, answers[0].z, "tuf", hold=("psep",), eps_values=np.linspace(-1.5, 1.5, 5))
figure, axes = plt.subplots(1, 5, figsize=(9, 2.3), layout="constrained")
for axis, frame, flux, apart in zip(axes, row.x, row.values["tuf"], row.values["psep"], strict=True):
    show(axis, frame[0], f"flux {flux:.3g}\nseparation {apart:.3g}")
plt.show()
