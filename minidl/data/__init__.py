"""Data: datasets, loaders, transforms, and readers that do not trust their files."""

from minidl.data import transforms
from minidl.data.dataset import ArrayDataset, Dataset, Subset, random_split
from minidl.data.idx import read_idx, write_idx
from minidl.data.images import ImageFolder, read_image
from minidl.data.loader import DataLoader
from minidl.data.mnist_files import has_mnist, mnist
from minidl.data.sklearn_digits import digits
