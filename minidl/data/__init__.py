"""Data: datasets, loaders, transforms, and readers that do not trust their files."""

from minidl.data import transforms
from minidl.data.cells import cell_images
from minidl.data.chairs import TransformedChairs, chair_images
from minidl.data.ct_slices import ct_slices
from minidl.data.dataset import ArrayDataset, Dataset, Subset, random_split, shuffled_rounds
from minidl.data.idx import read_idx, write_idx
from minidl.data.images import ImageFolder, read_image
from minidl.data.kitti import (
    StereoPairs,
    focal_and_baseline,
    kitti_drives,
    kitti_raw,
    kitti_stereo,
    laser_depth,
    read_calibration,
    read_disparity,
    read_points,
)
from minidl.data.legend import CAMVID, CELLS, VOC, Legend
from minidl.data.loader import DataLoader
from minidl.data.mnist_files import has_mnist, mnist
from minidl.data.photographs import photographs
from minidl.data.scenes import street_scenes
from minidl.data.segmentation import (
    LabelledImages,
    camvid,
    camvid_colours,
    isbi2012,
    read_labels,
    read_stack,
    voc2012,
)
from minidl.data.sklearn_digits import digits
from minidl.data.stereo_scenes import StereoScenes, stereo_scenes
from minidl.data.whirls import whirls
