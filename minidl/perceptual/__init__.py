"""Losses on VGG's features: style transfer, and images that look right rather than match exactly.

The network: ``load_features`` (a weight file) or ``random_features`` (none). Style transfer:
``content_loss``, ``gram``, ``style_loss``, ``variation_loss``, divided by a named convention;
``Objective`` adds them up by a named recipe. Synthesis: ``deepsim_loss``, ``CRNLoss``,
``diversity_loss``. Whole pictures: ``minidl.models.gatys``, and ``minidl.models.johnson`` with
``StyleTrainer`` and ``Photographs``.
"""

from minidl.perceptual.conventions import CONVENTIONS, Convention, find_convention
from minidl.perceptual.crn import CRNLoss, diversity_loss, split_pictures
from minidl.perceptual.deepsim import (
    adversarial_loss,
    deepsim_loss,
    discriminator_loss,
    restated,
)
from minidl.perceptual.features import (
    Features,
    denormalise,
    load_features,
    normalise_activations,
    random_features,
)
from minidl.perceptual.losses import content_loss, gram, style_loss, variation_loss
from minidl.perceptual.objective import Losses, Objective
from minidl.perceptual.photographs import Photographs
from minidl.perceptual.preparing import middle_square, recoloured, resized, rgb
from minidl.perceptual.recipes import RECIPES, Recipe, find_recipe
from minidl.perceptual.training import StyleTrainer, SuperResolutionTrainer
