"""
Measure observed regions
========================

Twelve regions seen by SDO/HMI ship with the package. Their parameters are measured at their own scale, in maxwell and
megametres.
"""

# sphinx_gallery_thumbnail_number = 1
import matplotlib.pyplot as plt
import numpy as np

import solquery

patches = solquery.sample_patches()
for patch in patches:
    got = solquery.measure(patch.field, patch.scale_mm, ["tuf", "psep", "r"])
    print(f"{patch.region:32} {got['tuf'].item():.2e} Mx  {got['psep'].item():5.1f} Mm  R {got['r'].item():.2e} Mx")

# %%
# The field of six of them, each at its own size, in megametres. Grey is no field; white leaves the Sun, black
# enters it.

figure, axes = plt.subplots(2, 3, figsize=(9, 5), layout="constrained")
for axis, patch in zip(axes.flat, patches[-6:], strict=True):
    height, width = np.array(patch.field.shape) * patch.scale_mm
    axis.imshow(patch.field, cmap="gray", vmin=-800, vmax=800, origin="lower", extent=(0, width, 0, height))
    axis.set_title(f"{patch.region}\n{patch.t_rec[:16]}", fontsize=8)
    axis.tick_params(labelsize=7)
figure.supxlabel("Mm", fontsize=8)
plt.show()
