"""Data: datasets, loaders, transforms, and readers that do not trust their files."""

from minidl.data import transforms
from minidl.data.dataset import (
    ArrayDataset,
    ConcatDataset,
    Dataset,
    Subset,
    TensorDataset,
    random_split,
    shuffled_rounds,
)
from minidl.data.drawn.cells import cell_images
from minidl.data.drawn.chair_transforms import TransformedChairs
from minidl.data.drawn.chairs import chair_images
from minidl.data.drawn.scenes import street_scenes
from minidl.data.drawn.slices import ct_slices
from minidl.data.drawn.stereo import StereoScenes, stereo_scenes
from minidl.data.drawn.whirls import whirls
from minidl.data.images import ImageFolder, read_image
from minidl.data.loader import DataLoader
from minidl.data.readers.camvid import camvid, camvid_colours
from minidl.data.readers.digits import digits
from minidl.data.readers.emnist import EMNIST_CLASSES, emnist
from minidl.data.readers.idx import read_idx, write_idx
from minidl.data.readers.isbi import isbi2012, read_stack
from minidl.data.readers.kitti import (
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
from minidl.data.readers.labelled import LabelledImages, read_labels
from minidl.data.readers.legend import CAMVID, CELLS, VOC, Legend
from minidl.data.readers.mnist import has_mnist, mnist
from minidl.data.readers.photographs import photographs
from minidl.data.readers.voc import voc2012
from minidl.data.watching import watched
