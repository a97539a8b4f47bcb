"""What depth from two views takes: warping, losses without truth, geometry, baselines, measures.

While training: ``warp``, ``photometric``, ``quadratic_smoothness``, ``edge_aware_tv``. After:
``depth_from_disparity``, ``depth_metrics``. To compare with: ``block_matching``. A real pair:
``motorcycle``.
"""

from minidl.depth.augment import ResizedPair, mirrored
from minidl.depth.block_matching import block_matching, box_mean
from minidl.depth.geometry import depth_from_disparity, disparity_from_depth
from minidl.depth.losses import edge_aware_tv, photometric, quadratic_smoothness
from minidl.depth.metrics import EIGEN_CROP, GARG_CROP, depth_metrics, mean_metrics
from minidl.depth.motorcycle import StereoPair, motorcycle
from minidl.depth.warp import in_view, warp
