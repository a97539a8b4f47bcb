"""Files that are whole or absent: weights, checkpoints, and PyTorch's own."""
