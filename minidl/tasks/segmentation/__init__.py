"""What segmenting an image takes besides a network: weights, losses, tiles, and scores.

Before training: ``median_frequency_weights``, ``border_weight_map``, ``ElasticDeformation``.
While training: ``pixel_cross_entropy``. After: ``overlap_tile`` for images of any size,
``ConfusionMatrix``, ``BoundaryF1``, ``BorderAccuracy``, ``cell_fates``, and the ISBI challenge's
errors.
"""

from minidl.tasks.segmentation.border_accuracy import BorderAccuracy, border_distance
from minidl.tasks.segmentation.boundaries import BoundaryF1, boundary, boundary_f1
from minidl.tasks.segmentation.class_weights import ClassFrequencies, median_frequency_weights
from minidl.tasks.segmentation.connected import components
from minidl.tasks.segmentation.deformed_tiles import DeformedTiles
from minidl.tasks.segmentation.distance import distance_to, two_nearest
from minidl.tasks.segmentation.elastic import ElasticDeformation, displacement_field, warp
from minidl.tasks.segmentation.fates import cell_fates, covering_pieces
from minidl.tasks.segmentation.losses import pixel_cross_entropy
from minidl.tasks.segmentation.membranes import pixel_error, rand_error, warping_error
from minidl.tasks.segmentation.metrics import ConfusionMatrix
from minidl.tasks.segmentation.object_crops import (
    NamedCrops,
    ObjectBox,
    ObjectCrops,
    balanced,
    cut,
    cut_labels,
    empty_boxes,
    enlarged_box,
    object_boxes,
)
from minidl.tasks.segmentation.tiles import Tile, mirrored_mean, overlap_tile, overlap_tiles
from minidl.tasks.segmentation.weight_map import border_weight_map, separate_touching
from minidl.tasks.segmentation.window_votes import largest_scores, square_windows
