"""Losses on VGG's features: style transfer, and images that look right rather than match exactly.

The network: ``load_features`` (a weight file) or ``random_features`` (none). Style transfer:
``content_loss``, ``gram``, ``style_loss``, ``variation_loss``, divided by a named convention;
``Objective`` adds them up by a named recipe. Synthesis: ``deepsim_loss``, ``CRNLoss``,
``diversity_loss``. Whole pictures: ``minidl.tasks.perceptual.stylise``, and
``minidl.tasks.perceptual.fast_style`` with ``StyleTrainer`` and ``Photographs``.
"""

from minidl.tasks.perceptual.conventions import CONVENTIONS, Convention, find_convention
from minidl.tasks.perceptual.crn import CRNLoss, diversity_loss
from minidl.tasks.perceptual.deepsim import adversarial_loss, deepsim_loss, restated
from minidl.tasks.perceptual.features import (
    Features,
    load_features,
    normalise_activations,
    random_features,
)
from minidl.tasks.perceptual.losses import content_loss, gram, style_loss, variation_loss
from minidl.tasks.perceptual.objective import Losses, Objective
from minidl.tasks.perceptual.photographs import Photographs
from minidl.tasks.perceptual.preparing import middle_square, recoloured, resized, rgb
from minidl.tasks.perceptual.recipes import RECIPES, Recipe, find_recipe, usual_recipe
from minidl.tasks.perceptual.training import StyleTrainer, SuperResolutionTrainer
