"""Training: the loop, its checkpoints, its records and their picture."""

from minidl.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from minidl.train.history import History
from minidl.train.log import JsonLines, TensorBoard
from minidl.train.loop import DivergenceError, fit
from minidl.train.plot import plot_history

__all__ = [
    "Checkpoint",
    "DivergenceError",
    "History",
    "JsonLines",
    "TensorBoard",
    "fit",
    "load_checkpoint",
    "plot_history",
    "save_checkpoint",
]
