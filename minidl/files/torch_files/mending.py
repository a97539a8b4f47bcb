"""The lines to type in PyTorch that turn a file which is not read into one that is."""

from __future__ import annotations

_LOAD = "s = torch.load(path, weights_only={only}, map_location='cpu')"


def saved_again(value: str) -> str:
    """The lines that save each tensor ``v`` of a file anew, as this expression."""
    return (
        f"in PyTorch: {_LOAD.format(only=True)}; "
        f"torch.save({{k: {value} for k, v in s.items()}}, 'weights.pth')"
    )


SCRIPTED = (
    "in PyTorch: torch.save(torch.jit.load(path, map_location='cpu').state_dict(), 'weights.pth')"
)
"""The line for a file of TorchScript."""

WHOLE = (
    "in PyTorch, with the program that made it, and if you trust it: "
    f"{_LOAD.format(only=False)}; torch.save(s.state_dict(), 'weights.pth')"
)
"""The line for a file of a whole model."""

FOREIGN = (
    "in PyTorch, with the program that made it, and if you trust it, save only the weights: "
    f"{_LOAD.format(only=False)}; torch.save(s['state_dict'], 'weights.pth'), or whatever its "
    "part with the weights is called."
)
"""The line for a checkpoint that holds objects besides its weights."""


def of_name(name: str) -> tuple[str, str]:
    """What a file is whose pickle asks for this name, and what mends it.

    >>> of_name("torch.nn.modules.linear Linear")[0]
    'it is a whole model, with the class torch.nn.modules.linear Linear in it'
    """
    module, _, last = name.partition(" ")
    shown = name[:200].encode("unicode_escape").decode()
    if "qtensor" in last or last.startswith(("QInt", "QUInt", "quint", "qint")):
        return (
            f"it holds quantised tensors ({shown})",
            saved_again("v.dequantize() if v.is_quantized else v"),
        )
    if "sparse" in last:
        return f"it holds sparse tensors ({shown})", saved_again("v.to_dense()")
    if last in ("ComplexFloatStorage", "ComplexDoubleStorage"):
        return f"it holds complex tensors ({shown})", saved_again("torch.view_as_real(v)")
    if module.startswith("__torch__"):
        return f"it is a program of TorchScript ({shown})", SCRIPTED
    if module.startswith(("torch.nn.modules.", "torch.nn.parallel", "torchvision.models")):
        return f"it is a whole model, with the class {shown} in it", WHOLE
    if module.startswith("numpy"):
        return (
            f"it holds arrays or numbers of NumPy ({shown}) where PyTorch's tensors belong",
            FOREIGN,
        )
    if module == "__main__" or last[:1].isupper():
        return (
            f"it asks for '{shown}', which is neither a tensor nor a plain value: an object of "
            "its program, perhaps a whole model",
            WHOLE if module == "__main__" else FOREIGN,
        )
    return f"it asks for '{shown}', which is neither a tensor nor a plain value", FOREIGN
