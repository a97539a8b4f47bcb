"""What a .cu file says about its kernels: names, parameters, structs, constants, included files.

    extern "C" __global__ void __launch_bounds__(256) scale(const real* __restrict__ x, int N)

is all that a launch by name needs to know, so it is read from the source and written nowhere
else. This is no C++ parser: it reads the declarations of kernels and of plain structs, and
refuses what it cannot read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from minidl.errors import ArgumentError, KernelError, message
from minidl.files.top_folders import top_folder

DTYPES: dict[str, np.dtype[Any]] = {
    "float": np.dtype(np.float32),
    "double": np.dtype(np.float64),
    "int": np.dtype(np.int32),
    "unsigned": np.dtype(np.uint32),
    "int64": np.dtype(np.int64),
    "uint64": np.dtype(np.uint64),
    "unsigned char": np.dtype(np.uint8),
    "short": np.dtype(np.int16),
    "unsigned short": np.dtype(np.uint16),
    "signed char": np.dtype(np.int8),
    "bool": np.dtype(np.bool_),
}
"""NumPy's name for each type that a parameter may have, beside ``real`` and structs."""

_SPELLINGS = {
    "unsigned int": "unsigned",
    "long long": "int64",
    "long long int": "int64",
    "unsigned long long": "uint64",
    "unsigned long long int": "uint64",
    "size_t": "uint64",
    "long": "int64",
    "long int": "int64",
    "unsigned long": "uint64",
    "unsigned long int": "uint64",
    "ptrdiff_t": "int64",
    "signed": "int",
    "char": "signed char",
    "uint8_t": "unsigned char",
    "int8_t": "signed char",
    "uint16_t": "unsigned short",
    "int16_t": "short",
    "uint32_t": "unsigned",
    "int32_t": "int",
    "uint64_t": "uint64",
    "int64_t": "int64",
}
"""Other spellings of these, as they are where CUDA runs: there a long has 64 bits."""

_TAKEN = frozenset((
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "ceil",
    "copysign", "cos", "cosh", "cospi", "erf", "erfc", "erfinv", "exp", "exp10", "exp2",
    "expm1", "fabs", "fdim", "floor", "fma", "fmax", "fmin", "fmod", "frexp", "hypot", "ilogb",
    "isfinite", "isinf", "isnan", "ldexp", "lgamma", "log", "log10", "log1p", "log2", "logb",
    "max", "min", "modf", "nearbyint", "norm", "pow", "remainder", "rint", "round", "rsqrt",
    "scalbn", "signbit", "sin", "sincos", "sinh", "sinpi", "sqrt", "tan", "tanh", "tgamma",
    "trunc", "printf", "malloc", "free", "memcpy", "memset", "assert", "clock", "main", "real",
))
"""Names that a kernel cannot have, since functions of CUDA have them, or nvcc's own words."""


@dataclass(frozen=True)
class Source:
    """A .cu file.

    Attributes
    ----------
    path : Path
        Where it lies; headers beside it are found. A name, where the text is all there is.
    text : str
    """

    path: Path
    text: str = field(repr=False)

    def __hash__(self) -> int:
        return hash(self.text)  # which Python remembers; asked several times a launch

    @property
    def name(self) -> str:
        return self.path.name


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel.

    Attributes
    ----------
    name : str
    type : str
        ``"real"``, a key of ``DTYPES``, or the name of a struct; of a pointer, what it points to.
    pointer, const, restrict : bool
        Whether it is an array; one that is only read; one that no other array overlaps.
    layout : {"NCHW", "NHWC"}
        How an array of four axes lies in memory.
    """

    name: str
    type: str
    pointer: bool = False
    const: bool = False
    layout: str = "NCHW"
    restrict: bool = False


@dataclass(frozen=True, eq=False)
class Kernel:
    """The declaration of a kernel.

    Attributes
    ----------
    name : str
    source : Source
        The file that declares it.
    parameters : tuple of Parameter
        In the order of the declaration.
    line : int
        Where the declaration starts, counted from 1.
    threads : int or None
        The largest block, by ``__launch_bounds__``, where that is a number.
    """

    name: str
    source: Source
    parameters: tuple[Parameter, ...]
    line: int
    threads: int | None = None


# --- finding kernels ---

_COMMENT = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_KERNEL = re.compile(
    r'(?P<external>\bextern\s*"C"\s*)?\b__global__\s+(?:void\s+)?'
    r"(?:__launch_bounds__\s*\((?P<bounds>(?:[^()]|\((?:[^()]|\([^()]*\))*\))*)\)\s*)?"
    r"(?:void\s+)?"
    r"(?P<name>\w+)\s*\((?P<parameters>[^()]*)\)"
)


def folder() -> Path:
    """The folder of the kernels: kernels/ of the repository, ``minidl.kernels`` once installed."""
    return top_folder("kernels")


@lru_cache(maxsize=1)
def shipped() -> dict[str, Kernel]:
    """Every kernel that comes with minidl, by its name."""
    files = sorted(folder().glob("*.cu"))
    return {name: kernel for path in files for name, kernel in kernels_of(path).items()}


def kernels_of(source: Path | str | Source) -> dict[str, Kernel]:
    """Read the kernels of a .cu file, by name, in the order of the file.

    Parameters
    ----------
    source : Path, str or Source
        A path, or the text itself.

    Raises
    ------
    KernelError
        If there is no kernel, or the declaration of one cannot be read.
    ArgumentError
        If there is no such file.

    Examples
    --------
    >>> text = 'extern "C" __global__ void scale(const float* x, float* y, float by, int N) {}'
    >>> kernels_of(text)["scale"].parameters[2]
    Parameter(name='by', type='float', pointer=False, const=False, layout='NCHW', restrict=False)
    """
    return dict(_kernels_of(source if isinstance(source, Source) else source_of(source)))


def source_of(source: Path | str) -> Source:
    """Read a .cu file, by its path, or take the text itself.

    Raises
    ------
    ArgumentError
        If there is no such file.
    """
    if isinstance(source, str) and re.search(r"[\n({]", source):  # no path, then
        return Source(Path("text.cu"), source)
    path = Path(source)
    try:
        return Source(path, path.read_text(encoding="utf-8"))
    except OSError as cause:
        raise ArgumentError(
            message(f"kernels_of: cannot read {str(source)!r}", str(cause))
        ) from cause


@lru_cache(maxsize=256)
def _kernels_of(source: Source) -> dict[str, Kernel]:
    text = without_comments(source.text)
    kernels = {}
    for found in _KERNEL.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        where = f"{source.name}:{line}: kernel {found['name']}"
        if not found["external"]:
            raise KernelError(
                message(
                    f'{where} is not extern "C"',
                    'without it C++ gives the kernel another name ("mangled"), not to be found by',
                    hint='write extern "C" __global__ void ... before each kernel; templates go '
                    "into device functions that it calls.",
                )
            )
        _check_name(where, found["name"])
        listed = (part.strip() for part in found["parameters"].split(","))
        parameters = tuple(_parameter(where, p) for p in listed if p not in ("", "void"))
        threads = _threads(source, found["bounds"] or "")
        kernels[found["name"]] = Kernel(found["name"], source, parameters, line, threads)
    if not kernels:
        raise KernelError(
            message(
                f"{source.name} has no kernel",
                hint='a kernel is declared as extern "C" __global__ void name(...).',
            )
        )
    return kernels


def kernel_names(text: str) -> list[tuple[int, int]]:
    """Find the places of kernels' names in their declarations, in a text without comments."""
    return [found.span("name") for found in _KERNEL.finditer(text)]


def _check_name(where: str, name: str) -> None:
    if name in _TAKEN or name.removesuffix("f") in _TAKEN:
        raise KernelError(
            message(
                f"{where}: CUDA has a function called {name}, and C++ cannot tell them apart",
                hint=f"call the kernel {name}_kernel, or what it computes.",
            )
        )


def _threads(source: Source, bounds: str) -> int | None:
    """The largest block by the first of the __launch_bounds__; None where it is no number."""
    depth, first = 0, ""
    for character in bounds:
        depth += (character == "(") - (character == ")")
        if character == "," and not depth:
            break
        first += character
    known = {} if first.strip().isdigit() else constants(source)
    threads = _computed(first.strip(), known, np.dtype(np.float32)) if first.strip() else None
    return threads if threads and threads > 0 else None


def _parameter(where: str, declaration: str) -> Parameter:
    """Read `NHWC const real* __restrict__ x`."""
    words = re.findall(r"\w+|\S", declaration)
    *before, name = words
    layouts = [word for word in before if word in ("NCHW", "NHWC")]
    stars = before.count("*")
    of_type = before[: before.index("*")] if stars else before
    kind = [w for w in of_type if w not in ("const", "struct", "volatile", "NCHW", "NHWC")]
    after = set(before[len(of_type) :]) - {"*", "const", "__restrict__", "volatile"}
    readable = name.isidentifier() and kind and " ".join(kind).replace(" ", "_").isidentifier()
    if not readable or after or stars > 1 or len(layouts) > 1:
        raise KernelError(
            message(
                f"{where}: cannot read the parameter {' '.join(declaration.split())!r}",
                hint="a parameter is a number, a plain struct, or a pointer, as in "
                "`const real* __restrict__ x`.",
            )
        )
    return Parameter(
        name=name,
        type=_SPELLINGS.get(" ".join(kind), " ".join(kind)),
        pointer=stars == 1,
        const="const" in of_type,
        layout=layouts[0] if layouts else "NCHW",
        restrict="__restrict__" in before,
    )


def without_comments(text: str) -> str:
    """Put blanks in the place of comments, so that every character keeps its place.

    Examples
    --------
    >>> without_comments('a /* b */ c // d')
    'a         c     '
    """

    def blank(found: re.Match[str]) -> str:
        return found[0] if found[0].startswith('"') else re.sub(r"[^\n]", " ", found[0])

    return _COMMENT.sub(blank, text)


# --- included files ---

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"\n]+)".*$', re.MULTILINE)


@lru_cache(maxsize=256)
def whole_text(source: Source, paths: bool = False) -> str:
    """Put the files that a text includes by "name" in their places, each at most once.

    ``#line`` keeps every line's file and number. A compiler then needs no folder of headers,
    and the text is all that its result depends on. Includes by <name>, and of files that are
    neither beside the source nor in kernels/include, stay as they are. ``paths``: files are
    called by their whole paths, and not by their names.
    """
    return _whole(source, {source.path}, paths)


def _whole(source: Source, seen: set[Path], paths: bool) -> str:
    called = source.path if paths else source.name
    lay, at = [f'#line 1 "{called}"\n'], 0
    for found in _INCLUDE.finditer(source.text):
        path = _header(found[1], source.path.parent)
        if path is None:
            continue
        line = source.text.count("\n", 0, found.end()) + 2
        lay.append(source.text[at : found.start()])
        if path not in seen:
            seen.add(path)
            lay.append(_whole(Source(path, path.read_text(encoding="utf-8")), seen, paths))
        lay.append(f'\n#line {line} "{called}"')
        at = found.end()
    # What `#pragma once` asks for is done, and compilers warn of it in a main file.
    return re.sub(r"(?m)^[ \t]*#[ \t]*pragma once", "", "".join([*lay, source.text[at:]]))


def _header(name: str, beside: Path) -> Path | None:
    places = (beside / name, folder() / "include" / name)
    return next((path for path in places if path.is_file()), None)


# --- what `real` means ---

_NAMED_REAL = re.compile(
    r"(?:\.|->)\s*real\b|\b(?:float|double|int|T)\s+(?:\w+\s*,\s*)?real\b(?=\s*[;,=\[])"
)


@lru_cache(maxsize=256)
def real_option(source: Source, real: str) -> tuple[str, ...]:
    """The compiler's option that says what ``real`` means: none where it is not a type.

    Raises
    ------
    KernelError
        If something is called ``real`` in a file for which minidl.cuh makes it a type.

    Examples
    --------
    >>> real_option(source_of("__global__ void f(const real* x) {}"), "double")
    ('-Dreal=double',)
    >>> real_option(source_of("struct Complex { float real, imaginary; };"), "float")
    ()
    """
    text = without_comments(source.text)
    named = _NAMED_REAL.search(text)
    if not named:
        return (f"-Dreal={real}",)
    if re.search(r"#\s*ifndef\s+real\b|\breal\s*[*&]|\bconst\s+real\b", whole_text(source)):
        raise KernelError(
            message(
                f"{source.name}:{text.count(chr(10), 0, named.start()) + 1}: something is called "
                "real, which is the name of a type in this file",
                "real is float or double: the file is compiled once for each",
                hint="call it re, or leave out minidl.cuh and write float or double.",
            )
        )
    return ()


# --- structs ---


@lru_cache(maxsize=256)
def struct_of(source: Source, name: str, real: str) -> np.dtype:
    """Read a struct that the source declares, as a dtype with named fields, laid out as by C.

    Raises
    ------
    KernelError
        If there is no such struct, or it holds more than numbers.
    """
    text = without_comments(whole_text(source))
    found = re.search(rf"\bstruct\s+{re.escape(name)}\s*\{{([^{{}}]*)\}}", text)
    if not found:
        raise KernelError(
            message(
                f"{source.name}: no plain struct is called {name}",
                hint="a struct parameter needs a declaration `struct NAME { int a, b; };` here or "
                "in a file included by its name in quotes.",
            )
        )
    fields = []
    for declaration in filter(None, (part.strip() for part in found[1].split(";"))):
        declared = re.fullmatch(r"([\w\s]*\w)\s+(\w+(?:\s*,\s*\w+)*)", declaration)
        words = " ".join(declared[1].split()) if declared else ""
        kind = DTYPES.get(real if words == "real" else _SPELLINGS.get(words, words))
        if not declared or kind is None:
            raise KernelError(
                message(
                    f"{source.name}: struct {name}: cannot read the field {declaration!r}",
                    hint="a struct that is a parameter holds numbers only.",
                )
            )
        fields += [(field.strip(), kind) for field in declared[2].split(",")]
    return np.dtype(fields, align=True)


# --- constants ---

_CONSTANTS = re.compile(r"^[ \t]*constexpr\s+int\s+([^;]+);", re.MULTILINE)
_ARITHMETIC = re.compile(r"(?:[\w\s()+*/%-]|<<|>>)+")


@lru_cache(maxsize=256)
def constants(source: Source, real: Any = np.float32, vector: int = 16) -> Mapping[str, int]:
    """Read the numbers that a file, or one that it includes, calls ``constexpr int NAME = ...;``.

    Launchers take from here what a kernel and its launch must agree on, such as the size of a
    tile. A number may be computed from numbers before it, and from ``sizeof``. Names that depend
    on the parameters of a template, or mean several numbers, are left out.

    Parameters
    ----------
    source : Source
    real : dtype
        What ``real`` means.
    vector : int
        What ``VECTOR`` means: the bytes of a pack (see kernels/include/packs.cuh).

    Examples
    --------
    >>> text = "constexpr int SIDE = 16, THREADS = SIDE * SIDE, PACK = 16 / sizeof(real);"
    >>> dict(constants(source_of(text)))
    {'SIDE': 16, 'THREADS': 256, 'PACK': 4}
    """
    found: dict[str, int | None] = {"VECTOR": vector}
    for declaration in _CONSTANTS.finditer(without_comments(whole_text(source))):
        for part in declaration[1].split(","):
            name, _, expression = (word.strip() for word in part.partition("="))
            value = _computed(expression, found, np.dtype(real))
            found[name] = value if found.get(name, value) == value else None
    del found["VECTOR"]
    return MappingProxyType({name: n for name, n in found.items() if n is not None})


def _computed(
    expression: str, known: Mapping[str, int | None], real: np.dtype[Any]
) -> int | None:
    """The value of an expression in whole numbers; None where it holds anything else."""
    text = expression
    for name, dtype in (*DTYPES.items(), ("real", real)):
        text = text.replace(f"sizeof({name})", str(dtype.itemsize))
    if not _ARITHMETIC.fullmatch(text):
        return None
    try:  # on names and signs alone, C++ and Python differ in the name of whole division
        return int(eval(text.replace("/", "//"), {"__builtins__": {}}, dict(known)))
    except (NameError, SyntaxError, TypeError):
        return None
