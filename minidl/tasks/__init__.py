"""What networks are used for: how each task is trained, scored and applied."""
