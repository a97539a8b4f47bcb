"""Restoring images: what super-resolution and denoising take besides a network.

Pairs to learn from: ``super_resolution_patches``, ``denoising_patches``, ``euclidean_loss``.
Measuring as papers do: ``evaluate``, ``evaluate_denoising``, on MATLAB's ``imresize`` and luma,
by ``psnr`` and ``ssim``. Afterwards: ``self_ensemble``, ``restored_in_pieces``, ``save_model`` and
``load_model``, which reads the authors' own files, too. The networks are
``minidl.models.srcnn``, ``vdsr`` and ``rednet``.
"""

from minidl.tasks.restoration.ensemble import self_ensemble, turned
from minidl.tasks.restoration.imresize import imresize
from minidl.tasks.restoration.losses import euclidean_loss
from minidl.tasks.restoration.luma import luma, rgb_to_ycbcr, ycbcr_to_rgb
from minidl.tasks.restoration.noise import NoiseOfLevels, add_noise
from minidl.tasks.restoration.patches import denoising_patches, super_resolution_patches
from minidl.tasks.restoration.protocol import (
    PUBLISHED,
    RED_NET,
    Recipe,
    degrade,
    enlarge,
    evaluate,
    evaluate_denoising,
    finished,
    modcrop,
    pair_of,
    read_bytes,
    read_folder,
    restored,
    shave,
)
from minidl.tasks.restoration.quality import Quality, psnr, quality, ssim
from minidl.tasks.restoration.released import read_released
from minidl.tasks.restoration.report import Report, Row, as_numbers
from minidl.tasks.restoration.weights import load_model, save_model
from minidl.tasks.restoration.whole import restored_in_pieces
