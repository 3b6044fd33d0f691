"""
Simulate a region, with and without an instrument
=================================================

The simulator gives a region as HMI would see it, radial or along the line of sight, and the same instant without
noise and blur. Its truth, the elements of flux it was made of, stands in the patch.
"""

# sphinx_gallery_thumbnail_number = 1
import matplotlib.pyplot as plt

import solquery as sq

kinds = ("radial", "line-of-sight", "noise-free")
patches = sq.simulate_region(seed=3, index=1, frames=1, quantity=kinds)
for patch in patches:
    print(f"{patch.quantity:14} {sq.quantities(patch, names='tuf')['tuf']:.3g} in all pixels, "
          f"{sq.quantities(patch, names='flux')['flux']:.3g} of the region")  # fmt: skip

# %%
# Noise fills the box: that is why the flux of all pixels is not that of the region.

figure, axes = plt.subplots(1, 3, figsize=(10, 3), layout="constrained")
for axis, patch in zip(axes, patches, strict=True):
    axis.imshow(patch.field, cmap="gray", vmin=-300, vmax=300, origin="lower")
    axis.set_title(patch.quantity, fontsize=9)
    axis.set_axis_off()
plt.show()
