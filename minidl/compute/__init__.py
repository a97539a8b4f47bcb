"""The wall: which code fills an array. Nothing below it knows Tensors."""
