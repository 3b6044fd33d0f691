"""Generated images as the search will see them: an adversarial critic of their embeddings.

A generated patch is a query. What is asked with it is an encoder, whose embedding can place generated patches apart
from observed ones by traits that a discriminator of pixels is slow to weigh. So the frozen encoder of the search is
shown what is drawn. A reconstruction should lie where its original lies, and draws should be spread as the archive
is, which a network of three layers judges: an adversary on frozen features learns from far fewer images than one on
pixels (Sauer et al. 2021, arXiv:2111.01007). Overlap measured in the space of this encoder is then asked for in
training, and no independent sign of realism any more: measure it in the space of another (`solquery quality
--encoder`).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..protocols import Patches
from ..training.mixing import images_of
from ..training.process_group import ProcessGroup

__all__ = ["EmbeddingCritic"]

#: patches of the archive by which embeddings are standardised
_MEASURED = 2048
#: weight of the critic's gradient penalty on real embeddings (R1)
_PENALTY = 0.5
_HIDDEN = 256


class EmbeddingCritic(nn.Module):
    """A frozen encoder, the archive's mean and spread in its space, and a critic of standardised embeddings.

    Parameters
    ----------
    encoder
        Module (N, 1, H, W) in preset units to (N, D), on the device where the archive is to be embedded; its weights
        are neither trained nor saved here.
    data
        Array-like (N, H, W) in preset units.
    seed
        Of the patches that are measured, and of the critic.
    batch
        Patches embedded at a time.
    """

    def __init__(self, encoder: nn.Module, data: Patches, seed: int, batch: int = 64) -> None:
        super().__init__()
        encoder = encoder.eval().requires_grad_(False)
        self._encoder = (encoder,)  # in a tuple, so that it is no part of the state
        rng = np.random.default_rng([seed, 61])
        rows = np.sort(rng.choice(len(data), min(len(data), _MEASURED), replace=False))
        first = next(encoder.parameters(), None)
        place = torch.device("cpu") if first is None else first.device
        with torch.no_grad():
            parts = np.array_split(rows, max(len(rows) // batch, 1))
            seen = torch.cat([encoder(images_of(data, part, place)) for part in parts])
        self.register_buffer("centre", seen.mean(0))
        self.register_buffer("spread", seen.std(0).clamp_min(1e-6))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + 61)
            self.critic = nn.Sequential(
                nn.Linear(seen.shape[1], _HIDDEN), nn.LeakyReLU(0.2),
                nn.Linear(_HIDDEN, _HIDDEN), nn.LeakyReLU(0.2),
                nn.Linear(_HIDDEN, 1),
            )  # fmt: skip

    def to(self, *args: object, **kwargs: object) -> EmbeddingCritic:
        """The same on another device, with its encoder."""
        self._encoder[0].to(*args, **kwargs)
        return super().to(*args, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, D) standardised embeddings of images (N, 1, H, W) in preset units."""
        return (self._encoder[0](x.float()) - self.centre) / self.spread

    def learn(self, real: Tensor, made: Tensor, optimiser: torch.optim.Optimizer, processes: ProcessGroup) -> Tensor:
        """One step of the critic on embeddings (N, D): relativistic pairs, and R1 on the real ones; its loss."""
        real = real.detach().requires_grad_(True)
        on_real = self.critic(real)
        loss = F.softplus(self.critic(made.detach()) - on_real).mean()
        (gradient,) = torch.autograd.grad(on_real.sum(), real, create_graph=True)
        optimiser.zero_grad(set_to_none=True)
        (loss + 0.5 * _PENALTY * gradient.square().sum(1).mean()).backward()
        processes.average_gradients(self.critic.parameters())
        optimiser.step()
        return loss.detach()

    def losses(self, real: Tensor, made: Tensor, rebuilt: int) -> tuple[Tensor, Tensor]:
        """Losses of the generator on embeddings `made` (N, D): adversarial, and reconstructions against originals.

        The first `rebuilt` of `made` are reconstructions of the first of `real` (N, D).
        """
        self.critic.requires_grad_(False)
        adversarial = F.softplus(self.critic(real) - self.critic(made)).mean()
        self.critic.requires_grad_(True)
        return adversarial, F.smooth_l1_loss(made[:rebuilt], real[:rebuilt])
