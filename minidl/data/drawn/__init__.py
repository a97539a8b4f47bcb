"""Data drawn by code, with a seed: scenes, cells, slices, chairs."""
