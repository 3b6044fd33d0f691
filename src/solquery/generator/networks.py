"""The paper's generator and discriminator.

Paper, section 4 "Training Generative Model": one linear and three transposed-convolution blocks against three
convolution blocks and a linear layer, kernels 3 x 3, stride 2.
"""

from __future__ import annotations

import torch
from torch import nn

from ..config import GeneratorConfig
from .registry import register_own
from .strided import double, double_thin, halve_thin

__all__ = ["PaperDiscriminator", "PaperGenerator"]


def _seed_side(side: int) -> int:
    """Side of the first feature map whose three doublings, 2n+1 each, reach `side` once cropped (15 for 128)."""
    return (side - 8 + 7) // 8


class PaperGenerator(nn.Module):
    """z (N, D) to (N, 1, H, W) in [-1, 1]; 1,510,081 parameters at D = 100, 128 x 128.

    Each unpadded transposed convolution takes n to 2n + 1: 15, 31, 63; one pixel of zero padding before the last
    gives 65 to 131, of which the first 128 are kept. What the padding contributes is zero, so that it is left out here
    and its two rows and columns are added behind the convolution.
    """

    def __init__(self, config: GeneratorConfig, shape: tuple[int, int]) -> None:
        super().__init__()
        self.latent_dim = config.latent_dim
        self.shape = tuple(shape)
        self.width = config.width
        self.seed = (_seed_side(shape[0]), _seed_side(shape[1]))
        w = config.width
        self.linear = nn.Linear(config.latent_dim, w * self.seed[0] * self.seed[1])
        self.up1 = nn.ConvTranspose2d(w, w, 3, stride=2)
        self.up2 = nn.ConvTranspose2d(w, w // 2, 3, stride=2)
        self.up3 = nn.ConvTranspose2d(w // 2, 1, 3, stride=2)
        self.activation = nn.LeakyReLU(0.2, inplace=True)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x = self.activation(self.linear(z)).view(-1, self.width, *self.seed)
        x = double(x, self.up1.weight, self.up1.bias, self.activation.negative_slope)
        x = double(x, self.up2.weight, self.up2.bias, self.activation.negative_slope)
        x = double_thin(x, self.up3.weight)
        (height, width), (inner_height, inner_width) = self.shape, x.shape[2:]
        x = nn.functional.pad(x, (2, width - 2 - inner_width, 2, height - 2 - inner_height))
        return torch.tanh(x + self.up3.bias.to(x.dtype))


class _ThinConv(nn.Conv2d):
    """The same layer, weights and all, whose gradient with respect to the patch is cheaper on a CPU."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return halve_thin(x, self.weight, self.bias)


class PaperDiscriminator(nn.Module):
    """(N, 1, H, W) to (N,) logits; 1,495,945 parameters at 128 x 128, or 70,145 with one linear layer.

    The paper's text ends it with "a linear layer", its published code with two; `config.discriminator_linear_layers`
    says which.

    The paper ends with a sigmoid; it is left to the loss (binary cross-entropy of a logit is the same number,
    computed without overflow), so that `torch.sigmoid` of this output is the paper's.
    """

    #: no patch of a batch bears on the logit of another, so that a batch may go through in parts
    one_by_one = True

    def __init__(self, config: GeneratorConfig, shape: tuple[int, int]) -> None:
        super().__init__()
        w = config.width
        sides = [side for side in shape]
        for _ in range(3):
            sides = [(side - 3) // 2 + 1 for side in sides]
        self.features = nn.Sequential(
            _ThinConv(1, w // 2, 3, stride=2), nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(w // 2, w, 3, stride=2), nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(w, w, 3, stride=2), nn.LeakyReLU(0.2, inplace=True),
            nn.Flatten(),
            *_end(w * sides[0] * sides[1], config.discriminator_linear_layers),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.features[:-1]:
            x = layer(x)
        # the logit in full: in bfloat16 the gradient of its bias, a small difference of large sums, would round to zero
        with torch.autocast(x.device.type, enabled=False):
            return self.features[-1](x.float() if x.dtype == torch.bfloat16 else x).squeeze(1)


def _end(features: int, layers: int) -> list[nn.Module]:
    """From the features of a patch to its logit."""
    if layers == 1:
        return [nn.Linear(features, 1)]
    return [nn.Linear(features, 100), nn.LeakyReLU(0.2, inplace=True), nn.Linear(100, 1)]


register_own("paper", PaperGenerator, PaperDiscriminator)
register_own("tiny", PaperGenerator, PaperDiscriminator)
