"""
Train a generator and an encoder, and make a model of them
==========================================================

The preset ``tiny`` trains in seconds on one core, and shows how the parts go together; it does not learn to draw. The
same lines with ``paper`` or ``physical`` take hours.
"""

# sphinx_gallery_thumbnail_number = 1
import tempfile
import warnings
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

import solquery as sq

warnings.simplefilter("ignore", UserWarning)  # so short a training collapses, and its directions are chance
folder = tempfile.mkdtemp()
preset = sq.get_preset("tiny")
x = sq.prepare_many(sq.sample_patches(), preset)
# a dozen patches are fewer than the preset shows at a time
few = replace(preset, generator=replace(preset.generator, batch=8), encoder=replace(preset.encoder, batch=8))
sq.train_generator(few.generator, x, f"{folder}/generator", few.shape, until_images=64)
sq.train_encoder(few.encoder, x, f"{folder}/encoder", until_images=64)
model = sq.build_model("mine", f"{folder}/generator", f"{folder}/encoder", preset="tiny", latents=300)
print(model)

# %%
# The model is a folder: JSON, weights, hashes, and how it came to be. It is checked when it is loaded.

again = sq.Model.load(model.save(f"{folder}/model"))
print(again.hash == model.hash, list(again.metadata["provenance"]))
drawn = sq.render(
    again.generator, np.random.default_rng(0).standard_normal((4, again.generator.latent_dim)), preset.shape
)
figure, axes = plt.subplots(1, 4, figsize=(8, 2.2), layout="constrained")
for axis, image in zip(axes, drawn[:, 0].numpy(), strict=True):
    axis.imshow(image, cmap="gray", origin="lower")
    axis.set_axis_off()
plt.show()
