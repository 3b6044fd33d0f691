"""
Compare two frames
==================

Has the flux of a region changed? Two frames are measured with the errors that their own noise gives, and the
difference is told in standard errors.
"""

# sphinx_gallery_thumbnail_number = 1
import matplotlib.pyplot as plt

import solquery as sq

frames = sq.simulate_region(seed=5, index=3, frames=6)
before, after = frames[1], frames[4]
table = sq.qtable([before, after], ["flux", "psep"], errors=True)
for name in ("flux", "psep"):
    change = table[name][1] - table[name][0]
    error = (table[f"{name}_error"][0] ** 2 + table[f"{name}_error"][1] ** 2) ** 0.5
    print(f"{name}: {change:.3g} ({(change / error).value:+.1f} standard errors)")

# %%
# Noise of two frames is independent; what both share, such as the calibration, is not in the errors.

figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
for axis, patch in zip(axes, (before, after), strict=True):
    axis.imshow(patch.field, cmap="gray", vmin=-800, vmax=800, origin="lower")
    axis.set_title(patch.t_rec, fontsize=8)
    axis.set_axis_off()
plt.show()
