"""What depth from two views takes: warping, losses without truth, geometry, baselines, measures.

While training: ``warp``, ``photometric``, ``quadratic_smoothness``, ``edge_aware_tv``. After:
``depth_from_disparity``, ``depth_metrics``. To compare with: ``block_matching``. A real pair:
``motorcycle``.
"""

from minidl.tasks.depth.augment import ResizedPair, mirrored
from minidl.tasks.depth.block_matching import block_matching, box_mean
from minidl.tasks.depth.geometry import depth_from_disparity
from minidl.tasks.depth.losses import edge_aware_tv, photometric, quadratic_smoothness
from minidl.tasks.depth.metrics import GARG_CROP, depth_metrics, mean_metrics
from minidl.tasks.depth.motorcycle import StereoPair, motorcycle
from minidl.tasks.depth.warp import in_view, warp
