"""BiGAN: a game between a generator and a discriminator of *pairs* makes an encoder that undoes the
generator.

Donahue, Krähenbühl and Darrell. Adversarial Feature Learning. ICLR 2017. arXiv:1605.09782.
Notebook: 02_bigan
Goodfellow et al. Generative Adversarial Nets. NeurIPS 2014. arXiv:1406.2661.

In the paper                                              here
    z uniform on [-1, 1]                                  noise
    G(z), a picture for every z                           Generator, self.g
    E(x), a code for every picture                        Coder.code: tanh(a / 2), a by CodeHead
    D(x, z), how likely the pair is (x, E(x))             Discriminator, self.d; here its logit
    max over D of V(D, E, G)                              discriminator_loss
    min over E and G, by the opposite labels              generator_encoder_loss
    keep the layer before E's output                      BiGAN.encode
and what the paper compares with:
    the features of D of a plain GAN                 GAN
    latent regressor, joint latent regressor         LatentRegressor(joint=0), LatentRegressor(joint=0.25)
    autoencoders with l2 and l1                      Autoencoder(power=2), Autoencoder(power=1)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from sslcourse.methods.base import Method, at_least_float32, descend, dim_of, floats, floats_of, images_of
from sslcourse.methods.spec import Spec
from sslcourse.runtime import distributed
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import FACTOR, PIXELS, SOME, WIDTH, Number, takes
from sslcourse.runtime.shapes import explained
from sslcourse.train.recipe import Recipe
from sslcourse.transforms.augment import View

# The authors' code for permutation-invariant MNIST, and the 1-nearest-neighbour accuracies of table 1; shown
# beside ours, never executed.
PAPER: dict[str, Any] = dict(
    data="MNIST, permutation-invariant",
    networks="MLPs, two hidden layers of 1,024",
    latent=50,
    optimizer="Adam, beta1 0.5",
    lr=2e-4,
    batch_size=128,
    epochs=400,
    weight_decay=2.5e-5,
)
TABLE = {
    "BiGAN": 97.39,
    "D": 97.30,
    "latent regressor": 97.44,
    "joint latent regressor": 97.13,
    "autoencoder, l2": 97.58,
    "autoencoder, l1": 97.63,
}

# a laptop CPU, the toybox
COURSE = Recipe(epochs=12, batch_size=64, lr=1e-3, schedule="cosine", weight_decay=2.5e-5)
FULL = COURSE.but(epochs=24)  # for longer, at most five minutes there
GPU = Recipe(epochs=100, batch_size=128, lr=4e-4, schedule="cosine", weight_decay=2.5e-5)  # one GPU, CIFAR-10


def noise(n: int, latent: int, device=None) -> Float[Tensor, "n d"]:
    """n draws of z, uniform on [-1, 1] in each of `latent` dimensions."""
    return torch.rand(n, latent, device=device) * 2 - 1


# ---------------------------------------------------------------------------------------------- the game


@explained
def discriminator_loss(real: Float[Tensor, " n"], generated: Float[Tensor, " m"]) -> Float[Tensor, ""]:
    """What D descends: -V / 2 of the paper, the mean of both halves' cross-entropies. log 2 for a D that
    tells nothing apart.

    Args:
        real: logits of the pairs (x, E(x)), to be called real.
        generated: logits of the pairs (G(z), z), to be called generated.
    """
    _logits(real, generated)
    # -log sigmoid(a) = softplus(-a) and -log(1 - sigmoid(a)) = softplus(a): no probability is ever rounded to
    # 0 or 1.
    return (F.softplus(-at_least_float32(real)).mean() + F.softplus(at_least_float32(generated)).mean()) / 2


@explained
def generator_encoder_loss(real: Float[Tensor, " n"], generated: Float[Tensor, " m"]) -> Float[Tensor, ""]:
    """What E and G descend together: the same logits under the *opposite* labels.

    V itself would do in theory, but its slope vanishes where D is sure, which is where it is needed
    (Goodfellow et al., section 3); the opposite labels have the same optimum and the full slope there. E is
    reached by the first half alone, G by the second."""
    _logits(real, generated)
    return (F.softplus(at_least_float32(real)).mean() + F.softplus(-at_least_float32(generated)).mean()) / 2


@explained
def generator_loss(generated: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """What G of a plain GAN descends: its pictures should be called real."""
    return F.softplus(-at_least_float32(generated)).mean()


@explained
def regression_loss(a: Float[Tensor, "n d"], z: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """How far E(G(z)) is from z: the cross-entropy of sigmoid(a) against (z + 1) / 2, mean over pictures and
    dimensions.

    Args:
        a: the encoder's output before it is squashed; tanh(a / 2) is the code.
        z: what the pictures were made from, -1 to 1.
    """
    return F.binary_cross_entropy_with_logits(at_least_float32(a), (z.to(at_least_float32(a).dtype) + 1) / 2)


def _logits(*given: Tensor) -> None:
    for a in given:
        if a.ndim != 1:
            raise CourseError(
                f"logits of shape {tuple(a.shape)}; the discriminator gives one per pair, (B,): write "
                "d(x, "
                "z).flatten()"
            )


def constant(network: nn.Module, *inputs: Tensor) -> Tensor:
    """The network's output with its weights held constant: gradients reach the inputs and not the network."""
    return functional_call(network, {k: w.detach() for k, w in network.named_parameters()}, inputs)


# ---------------------------------------------------------------------------------------------- the networks


LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
SLOPE = 0.2  # of leaky ReLUs below 0
# Of the batch normalisation on E's output a: with this spread tanh(a / 2) has about that of z, 0.58.
GAIN = 1.81


def _small_weights(network: nn.Module) -> nn.Module:
    """All weights from N(0, 0.02), as in DCGAN: generators and encoders, whose layers are normalised."""
    for module in network.modules():
        if isinstance(module, LAYERS):
            nn.init.normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


def _level_weights(network: nn.Module) -> nn.Module:
    """Weights that keep the signal's size from layer to layer (He et al., 2015): discriminators, whose first
    layer has no normalisation to do it.
    """
    for module in network.modules():
        if isinstance(module, LAYERS):
            nn.init.kaiming_normal_(module.weight, a=SLOPE, nonlinearity="leaky_relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


@explained
def whole(encoder: nn.Module, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b m"]:
    """All that an encoder's last stage says of pictures: its map with every place, as one vector; the vector
    of an encoder that has no map.
    """
    if hasattr(encoder, "maps"):
        return cast("Callable[[Tensor], Tensor]", encoder.maps)(x).flatten(1)
    return encoder(x)


class CodeHead(nn.Sequential):
    """From `whole` to E's output before it is squashed: linear, then normalised to the spread of z.

    Without the normalisation the codes begin at a tenth of the spread of z, and D tells pairs apart by how
    large the code is; E then learns to be large and nothing else. The places are kept, as in the authors'
    code: their average does not say where a thing is, and G has to draw it there.

    Args:
        encoder: see `BiGAN`.
        size: side of the pictures.
        latent: length of the code.
    """

    def __init__(self, encoder: nn.Module, size: int, latent: int):
        inside = dim_of(encoder)
        if hasattr(encoder, "maps"):
            training = encoder.training
            with torch.no_grad():  # in eval mode: no statistics move
                inside = whole(encoder.eval(), torch.zeros(1, 3, size, size)).shape[1]
            encoder.train(training)
        spread = nn.BatchNorm1d(latent)
        nn.init.constant_(spread.weight, GAIN)
        super().__init__(nn.Linear(inside, latent, bias=False), spread)


class Generator(nn.Module):
    """z (B, latent) to pictures (B, 3, size, size) in 0..1: three transposed convolutions, and z is told to
    every layer but the last.
    """

    @takes(size=PIXELS, latent=SOME, width=WIDTH)
    def __init__(self, size: int = 32, latent: int = 64, width: int = 32):
        super().__init__()
        if size % 8:
            raise CourseError(
                f"size={size}; the generator doubles a side three times, so take a multiple of 8"
            )
        self.latent, self.side, w = latent, size // 8, width
        self.start = nn.Linear(latent, 4 * w * self.side**2, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(4 * w), nn.BatchNorm2d(2 * w), nn.BatchNorm2d(w)])
        self.grow = nn.ModuleList(
            [
                nn.ConvTranspose2d(4 * w, 2 * w, 4, 2, 1, bias=False),
                nn.ConvTranspose2d(2 * w, w, 4, 2, 1, bias=False),
            ]
        )
        self.told = nn.ModuleList([nn.Linear(latent, 2 * w, bias=False), nn.Linear(latent, w, bias=False)])
        self.last = nn.ConvTranspose2d(w, 3, 4, 2, 1)
        _small_weights(self)

    def forward(self, z: Float[Tensor, "b d"]) -> Float[Tensor, "b 3 h w"]:
        # (B, 4w, size / 8, size / 8)
        x = F.relu(self.norms[0](self.start(z).unflatten(1, (-1, self.side, self.side))))
        for grow, told, norm in zip(self.grow, self.told, self.norms[1:]):
            x = F.relu(norm(grow(x) + told(z)[:, :, None, None]))
        return torch.sigmoid(self.last(x))


class Discriminator(nn.Module):
    """Pairs of pictures (B, 3, size, size) and codes (B, latent) to logits (B,): above 0 it takes the pair
    for (x, E(x)).

    The code is added, linearly projected, before each nonlinearity but the first, as in the authors' code.
    With `latent=0` it judges pictures alone, as in a plain GAN."""

    @takes(size=PIXELS, latent=SOME, width=WIDTH)
    def __init__(self, size: int = 32, latent: int = 64, width: int = 32):
        super().__init__()
        if size % 8:
            raise CourseError(
                f"size={size}; the discriminator halves a side three times, so take a multiple of 8"
            )
        w = width
        # without batch normalisation, which would hide a picture's own contrast
        self.first = nn.Conv2d(3, w, 5, 2, 2)
        self.shrink = nn.ModuleList(
            [nn.Conv2d(w, 2 * w, 4, 2, 1, bias=False), nn.Conv2d(2 * w, 4 * w, 4, 2, 1, bias=False)]
        )
        self.norms = nn.ModuleList([nn.BatchNorm2d(2 * w), nn.BatchNorm2d(4 * w)])
        self.told = nn.ModuleList(
            [nn.Linear(latent, 2 * w, bias=False), nn.Linear(latent, 4 * w, bias=False)] if latent else []
        )
        self.last = nn.Linear(4 * w * (size // 8) ** 2, 1)
        _level_weights(self)

    def forward(
        self, x: Float[Tensor, "b 3 h w"], z: Float[Tensor, "b d"] | None = None
    ) -> Float[Tensor, " b"]:
        x = F.leaky_relu(self.first(x * 2 - 1), SLOPE)
        for i, (shrink, norm) in enumerate(zip(self.shrink, self.norms)):
            x = shrink(x) + self.told[i](z)[:, :, None, None] if self.told else shrink(x)
            x = F.leaky_relu(norm(x), SLOPE)
        return self.last(x.flatten(1))[:, 0]


class FlatEncoder(nn.Module):
    """Grey pictures as plain vectors, whose pixels might as well be shuffled: two hidden layers. The
    permutation-invariant encoder.

    Reads the first channel of (B, 3, size, size); `forward` gives the second hidden layer (B, dim).
    """

    @takes(size=PIXELS, dim=WIDTH)
    def __init__(self, size: int = 28, dim: int = 1024):
        super().__init__()
        self.dim = dim
        self.hidden1 = nn.Sequential(nn.Linear(size * size, dim, bias=False), nn.LeakyReLU(SLOPE))
        self.hidden2 = nn.Sequential(
            nn.Linear(dim, dim, bias=False), nn.BatchNorm1d(dim), nn.LeakyReLU(SLOPE)
        )
        _small_weights(self)

    @property
    def layers(self) -> dict[str, nn.Module]:
        return {"hidden1": self.hidden1, "hidden2": self.hidden2}

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        return self.hidden2(self.hidden1(image[:, 0].flatten(1)))


class FlatGenerator(nn.Module):
    """z (B, latent) to grey pictures (B, 3, size, size) in 0..1, three equal channels: two hidden layers, the
    second told z.
    """

    @takes(size=PIXELS, latent=SOME, width=WIDTH)
    def __init__(self, size: int = 28, latent: int = 50, width: int = 1024):
        super().__init__()
        self.size, self.latent = size, latent
        self.start, self.middle = nn.Linear(latent, width, bias=False), nn.Linear(width, width, bias=False)
        self.told, self.last = nn.Linear(latent, width, bias=False), nn.Linear(width, size * size)
        self.norms = nn.ModuleList([nn.BatchNorm1d(width), nn.BatchNorm1d(width)])
        _small_weights(self)

    def forward(self, z: Float[Tensor, "b d"]) -> Float[Tensor, "b 3 h w"]:
        x = F.relu(self.norms[0](self.start(z)))
        x = F.relu(self.norms[1](self.middle(x) + self.told(z)))
        return torch.sigmoid(self.last(x)).unflatten(1, (1, self.size, self.size)).expand(-1, 3, -1, -1)


class FlatDiscriminator(nn.Module):
    """Pairs of grey pictures and codes to logits (B,), permutation-invariant; `latent=0` judges pictures
    alone.
    """

    @takes(size=PIXELS, latent=SOME, width=WIDTH)
    def __init__(self, size: int = 28, latent: int = 50, width: int = 1024):
        super().__init__()
        self.first, self.middle = nn.Linear(size * size, width), nn.Linear(width, width, bias=False)
        self.told = nn.Linear(latent, width, bias=False) if latent else None
        self.norm, self.last = nn.BatchNorm1d(width), nn.Linear(width, 1)
        _level_weights(self)

    def forward(
        self, x: Float[Tensor, "b 3 h w"], z: Float[Tensor, "b d"] | None = None
    ) -> Float[Tensor, " b"]:
        x = self.middle(F.leaky_relu(self.first(x[:, 0].flatten(1)), SLOPE))
        x = x if self.told is None else x + self.told(z)
        return self.last(F.leaky_relu(self.norm(x), SLOPE))[:, 0]


class Judge(nn.Module):
    """A discriminator of pictures alone whose body is an encoder: its last hidden layer are the features of
    D.
    """

    def __init__(self, body: nn.Module):
        super().__init__()
        self.body, self.last = body, _small_weights(nn.Linear(dim_of(body), 1))

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        return self.last(self.body(x))[:, 0]


# ---------------------------------------------------------------------------------------------- the methods


def short_memory(optimizers: dict[str, torch.optim.Optimizer]) -> None:
    """Adam's beta1 = 0.5 (DCGAN, and the authors' code): the opponent moves on, and old gradients speak of a
    game that is over.
    """
    for group in (g for o in optimizers.values() for g in o.param_groups if "betas" in g):
        group["betas"] = (0.5, 0.999)


class Coder(Method):
    """What BiGAN shares with its rivals: an encoder E(x) = tanh(a / 2), and a generator G."""

    head: nn.Module
    g: nn.Module

    def before_tanh(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """a, E's output before it is squashed into the range of z."""
        return self.head(whole(self.f, x))

    def code(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """E(x), in the range of z: were it another, D could tell the pairs apart by that alone."""
        return torch.tanh(self.before_tanh(x) / 2)

    def reconstruct(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """G(E(x)): near x as far as E undoes G."""
        return self.g(self.code(floats(x)))

    def views(self, batch):
        return {"image": floats_of(batch)}

    def before_epoch(self, progress, dataset, optimizers):
        short_memory(optimizers)

    def encode(self, batch):
        # The layer before E's output, as in the paper's tables; of a map the average over all places.
        return self.f(floats_of(batch))


class BiGAN(Coder):
    """BiGAN around any encoder.

    Args:
        encoder: images (B, 3, H, W) in 0..1 to vectors (B, encoder.dim): the body of E.
        size: side of the pictures.
        latent: dimensions of z.
        width: channels of the first layer of D and of the last hidden one of G.
        view: draws one random view of a batch of images, which then is x; by default the pictures as they
            are.
        generator, discriminator: networks of your own, such as `FlatGenerator` and `FlatDiscriminator`;
            convolutional ones by default.
        d_loss, eg_loss: the players' losses, functions of the logits of real and generated pairs; put your
            own here.
    """

    @takes(size=PIXELS, latent=WIDTH, width=WIDTH)
    def __init__(
        self,
        encoder: nn.Module,
        size: int = 32,
        latent: int = 64,
        width: int = 32,
        view: View | None = None,
        generator: nn.Module | None = None,
        discriminator: nn.Module | None = None,
        d_loss=discriminator_loss,
        eg_loss=generator_encoder_loss,
    ):
        super().__init__()
        self.f, self.head = encoder, CodeHead(encoder, size, latent)
        self.g = generator or Generator(size, latent, width)
        self.d = discriminator or Discriminator(size, latent, width)
        self.latent, self.view, self.d_loss, self.eg_loss = latent, view, d_loss, eg_loss

    def views(self, batch):
        x = images_of(batch)
        return {"image": floats(self.view(x) if self.view else x)}

    def trainable(self):
        players = {"discriminator": [self.d], "generator and encoder": [self.g, self.head, self.f]}
        return {
            name: [p for m in modules for p in m.parameters() if p.requires_grad]
            for name, modules in players.items()
        }

    def loss(self, batch):
        x = self.views(batch)["image"]
        z = noise(len(x), self.latent, x.device)
        code, picture = self.code(x), self.g(z)
        # D's move: codes and pictures are taken as they are. Each kind is normalised by its own batch
        # statistics.
        d = self.d_loss(self.d(x, code.detach()), self.d(picture.detach(), z))
        # E's and G's move, at the same time and against the same D, which is taken as it is.
        eg = self.eg_loss(constant(self.d, x, code), constant(self.d, picture, z))
        return d + eg, {"D": d.detach(), "E and G": eg.detach()}

    def step(self, batch, optimizers):
        both, losses = distributed.parallel(self)(batch)
        # Neither loss reaches the other player, so one backward pass of their sum gives each player the
        # gradient of its own.
        descend(both, optimizers["discriminator"], optimizers["generator and encoder"])
        return {"loss": losses["D"], "E and G": losses["E and G"]}


class GAN(Method):
    """A plain GAN whose discriminator is the encoder with one logit on top: the baseline "discriminator
    features".

    Arguments as for `BiGAN`.
    """

    @takes(size=PIXELS, latent=WIDTH, width=WIDTH)
    def __init__(
        self,
        encoder: nn.Module,
        size: int = 32,
        latent: int = 64,
        width: int = 32,
        generator: nn.Module | None = None,
    ):
        super().__init__()
        self.d, self.g, self.latent = Judge(encoder), generator or Generator(size, latent, width), latent

    @property
    def f(self) -> nn.Module:
        return self.d.body

    def views(self, batch):
        return {"image": floats_of(batch)}

    def trainable(self):
        return {"discriminator": list(self.d.parameters()), "generator": list(self.g.parameters())}

    def before_epoch(self, progress, dataset, optimizers):
        short_memory(optimizers)

    def loss(self, batch):
        x = self.views(batch)["image"]
        picture = self.g(noise(len(x), self.latent, x.device))
        d = discriminator_loss(self.d(x), self.d(picture.detach()))
        g = generator_loss(constant(self.d, picture))
        return d + g, {"D": d.detach(), "G": g.detach()}

    def step(self, batch, optimizers):
        both, losses = distributed.parallel(self)(batch)
        descend(both, optimizers["discriminator"], optimizers["generator"])
        return {"loss": losses["D"], "G": losses["G"]}

    def encode(self, batch):
        return self.f(floats_of(batch))


class LatentRegressor(Coder):
    """A plain GAN, and beside it an encoder that learns to tell z from G(z). The encoder never sees a real
    picture.

    Args:
        joint: weight of the regression in G's loss: 0 for the paper's latent regressor, 0.25 for its joint
            one.
        discriminator: judges pictures alone (`latent=0`).

    Other arguments as for `BiGAN`.
    """

    @takes(size=PIXELS, latent=WIDTH, width=WIDTH, joint=FACTOR)
    def __init__(
        self,
        encoder: nn.Module,
        size: int = 32,
        latent: int = 64,
        width: int = 32,
        joint: float = 0.0,
        generator: nn.Module | None = None,
        discriminator: nn.Module | None = None,
    ):
        super().__init__()
        if not joint >= 0:
            raise CourseError(
                f"joint={joint}; it weighs the regression in the generator's loss: 0, or the paper's 0.25"
            )
        self.f, self.head = encoder, CodeHead(encoder, size, latent)
        self.g, self.d = (
            generator or Generator(size, latent, width),
            discriminator or Discriminator(size, 0, width),
        )
        self.latent, self.joint = latent, joint

    def trainable(self):
        return {
            "discriminator": list(self.d.parameters()),
            "generator": list(self.g.parameters()),
            "encoder": [*self.head.parameters(), *self.f.parameters()],
        }

    def loss(self, batch):
        x = self.views(batch)["image"]
        z = noise(len(x), self.latent, x.device)
        picture = self.g(z)
        d = discriminator_loss(self.d(x), self.d(picture.detach()))
        g = generator_loss(constant(self.d, picture))
        if self.joint:  # scale what flows back into G, while E descends the whole of it
            seen = self.joint * picture + (1 - self.joint) * picture.detach()
        else:
            seen = picture.detach()
        e = regression_loss(self.before_tanh(seen), z)
        return d + g + e, {"D": d.detach(), "G": g.detach(), "E": e.detach()}

    def step(self, batch, optimizers):
        together, losses = distributed.parallel(self)(batch)
        descend(together, optimizers["discriminator"], optimizers["generator"], optimizers["encoder"])
        return {"loss": losses["D"], "G": losses["G"], "E": losses["E"]}


class Autoencoder(Coder):
    """E and G alone, which descend the distance between x and G(E(x)): no game.

    Args:
        power: 2 for squared differences (l2), 1 for absolute ones (l1).

    Other arguments as for `BiGAN`.
    """

    @takes(size=PIXELS, latent=WIDTH, width=WIDTH, power=Number(1, 10))
    def __init__(
        self,
        encoder: nn.Module,
        size: int = 32,
        latent: int = 64,
        width: int = 32,
        power: int = 2,
        generator: nn.Module | None = None,
    ):
        super().__init__()
        if power not in (1, 2):
            raise CourseError(f"power={power}; use 1 (absolute differences) or 2 (squared ones)")
        self.f, self.head = encoder, CodeHead(encoder, size, latent)
        self.g, self.latent, self.power = generator or Generator(size, latent, width), latent, power

    def loss(self, batch):
        x = self.views(batch)["image"]
        difference = at_least_float32(self.g(self.code(x))) - x
        return (difference.abs() if self.power == 1 else difference.square()).mean(), {}


def settings_for(recipe: str, toy: bool, classes: int) -> dict:
    """What this method is under each recipe; plain values, for files."""
    return dict(size=32, latent=64, width=32) if recipe != "gpu" else dict(size=32, latent=100, width=64)


def from_settings(encoder: nn.Module, settings: dict) -> BiGAN:
    """The method that `settings` describe."""
    return BiGAN(encoder, **settings)


SPEC = Spec(
    name="bigan",
    lesson="02_bigan",
    title="BiGAN",
    course=COURSE,
    full=FULL,
    gpu=GPU,
    settings=settings_for,
    build=from_settings,
)
