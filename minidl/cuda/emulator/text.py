"""A .cu file as C++ text: what the compiler cannot be told by a header.

These are rewritten, each within its line, so that line numbers stay true:

    extern __shared__ T name[];    a pointer to the launch's dynamic shared memory
    __shared__ T name[...];        the same, with room around it that is nobody's, and a note of
                                   where it lies
    name(...), of a kernel         minidl_kernel_name(...)
    the end of the file            one function for each kernel, which Python calls
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from minidl.cuda.source import kernel_names, without_comments

_WORD = r"(?:volatile|const|static|(?:__align__|alignas)\s*\([^()]*(?:\([^()]*\)[^()]*)*\))\s*"
_DYNAMIC = re.compile(
    rf"\bextern\s+(?P<before>(?:{_WORD})*)__shared__\s+(?P<after>(?:{_WORD})*)"
    r"(?P<type>[\w:<>,\s]+?)\s*\b(?P<name>\w+)\s*\[\s*\](?P<rest>(?:\s*\[[^\]]*\])*)\s*;"
)
_STATIC = re.compile(
    rf"(?P<before>(?:\b{_WORD})*)\b__shared__\b(?P<declared>[^;{{}}]*(?:\{{[^{{}}]*\}})?[^;{{}}]*);"
)
_ALIGNED = re.compile(r"(?:__align__|alignas)\s*\(((?:[^()]|\([^()]*\))*)\)")
_LITERAL = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'')


def cpp_text(cuda: str, kernels: Iterable[str]) -> str:
    """The text that the C++ compiler gets, for a file's whole text and its kernels.

    Examples
    --------
    >>> print(cpp_text("extern __shared__ int a[];", ["f"]))
    static int (*&a) = reinterpret_cast<int (*&)>(::emulator::dynamic_shared);
    #line 1 "minidl's calls"
    MINIDL_KERNEL(f)
    <BLANKLINE>
    """
    parts, at = [], 0
    bare = _bare(cuda)
    # The system's headers may have a function of a kernel's name: C++ has many more than CUDA.
    named = [(start, end, f"minidl_kernel_{cuda[start:end]}") for start, end in kernel_names(bare)]
    for start, end, new in sorted([*_rewritten(cuda, bare), *named]):
        # A declaration over several lines stays as many: the lines after it keep their numbers.
        parts += [cuda[at:start], new, "\n" * (cuda.count("\n", start, end) - new.count("\n"))]
        at = end
    calls = "".join(f"MINIDL_KERNEL({name})\n" for name in kernels)
    return f"{''.join(parts)}{cuda[at:]}\n#line 1 \"minidl's calls\"\n{calls}"


def dynamic_name(cuda: str) -> str:
    """The name of a file's dynamic shared memory, if it has one name for it.

    Examples
    --------
    >>> dynamic_name("extern __shared__ float tile[];")
    'tile'
    """
    names = {found["name"] for found in _DYNAMIC.finditer(cuda)}
    return names.pop() if len(names) == 1 else "dynamic shared memory"


_VARIABLE = re.compile(
    r"\b__(?:device|managed)__\s+(?!__)(?P<before>(?:[\w:]+(?:\s*<[^;(){}]*>)?[\s*&]+)+)"
    r"(?P<name>\w+)\s*(?=(?:\[[^\]]*\]\s*)*(?:;|=|\{|,))"
)


def device_variables(cuda: str) -> list[str]:
    """The names of the ``__device__`` variables that a text declares.

    Examples
    --------
    >>> device_variables("__device__ int sums[] = {1, 2}, n; __device__ int f(int x) { return x; }")
    ['sums', 'n']
    """
    text, names = _bare(cuda), []
    for found in _VARIABLE.finditer(re.sub(r"\b(?:static|volatile)\b", " ", text)):
        if re.search(r"\b(?:constexpr|struct|class|template|inline)\b", found["before"]):
            continue
        rest = text[found.start("name") : text.find(";", found.end())]
        names += _declared(rest)
    return list(dict.fromkeys(names))


# --- declarations ---


def _rewritten(cuda: str, text: str) -> Iterator[tuple[int, int, str]]:
    """What stands in the place of each declaration of shared memory: from, to, the new text."""
    scopes = _Scopes(text)
    dynamic = {found.start(): found for found in _DYNAMIC.finditer(text)}
    taken = [(found.start(), found.end()) for found in dynamic.values()]
    for found in _STATIC.finditer(text):
        start = text.index("__shared__", found.start())
        if not any(first <= start < last for first, last in taken):
            dynamic[found.start()] = found
    for number, (start, found) in enumerate(sorted(dynamic.items())):
        on_file = scopes.on_file(start)
        if "declared" in found.groupdict():
            new = _static(cuda, found, number, on_file)
        else:
            new = _pointer(cuda, found, on_file)
        yield start, found.end(), new


def _pointer(cuda: str, found: re.Match[str], on_file: bool) -> str:
    volatile = "volatile " * ("volatile" in found["before"] + found["after"])
    rest = " ".join(found["rest"].split())
    kind, name = f"{volatile}{' '.join(found['type'].split())}", found["name"]
    if not on_file:
        return f"{kind} (*{name}){rest} = minidl_dynamic_shared();"
    where = f"reinterpret_cast<{kind} (*&){rest}>(::emulator::dynamic_shared)"
    return f"static {kind} (*&{name}){rest} = {where};"


def _static(cuda: str, found: re.Match[str], number: int, on_file: bool) -> str:
    """A declaration whose variables lie in memory with room around each.

    A struct tells their types; each variable is then a reference into a static one of its own.
    """
    before = re.sub(r"\b(?:static|const)\b", "", found["before"])
    declared = cuda[found.start("declared") : found.end("declared")]
    names = _declared(found["declared"])
    previous = found.string[: found.start()].rstrip()[-1:]
    if previous not in ("", ";", "{", "}", ")", ":", '"', "\\") and not _after_directive(found):
        notes = "".join(f" MINIDL_SHARED({name}, 0)" for name in names)  # `float __shared__ x;`
        return f"{found['before']}__shared__{declared};{notes}"
    aligned = _ALIGNED.search(before + found["declared"])
    alignment = f"({aligned[1]})" if aligned else "1"
    parts = [f"struct minidl_s{number} {{ {before}{declared}; }};"]
    for name in names:
        room = f"minidl_g{number}_{name}"
        kind = f"decltype(minidl_s{number}::{name})"
        parts.append(f"static ::emulator::Guarded<{kind}, {alignment}> {room};")
        parts.append(f"static constexpr auto& {name} = {room}.value;")
        if on_file:
            noted = f"minidl_n{number}_{name}"
            told = f'(&{name}, sizeof {name}, "{name}")'
            parts.append(f"static ::emulator::FileShared {noted}{told};")
        else:
            parts.append(f"MINIDL_SHARED({name}, ::emulator::SHARED_ROOM)")
    return " ".join(parts)


def _after_directive(found: re.Match[str]) -> bool:
    """Whether what comes before on the line, or is the line before, is of the preprocessor."""
    lines = found.string[: found.start()].rstrip().splitlines()
    return bool(lines) and lines[-1].lstrip().startswith("#")


def _declared(declarators: str) -> list[str]:
    """The names in `real left[Tile<16, 2>::SIZE], right[3]`: the last word before each bracket."""
    outside, depth = "", 0
    for character in declarators:
        depth -= character in "])>}"
        outside += character if depth == 0 else ""
        depth += character in "[(<{"
    words = (re.findall(r"\w+", part.partition("=")[0]) for part in outside.split(","))
    return [found[-1] for found in words if found]


# --- scopes ---


def _bare(cuda: str) -> str:
    """The text with blanks in the place of comments, and of what stands in quotes."""
    return _LITERAL.sub(
        lambda found: found[0] if found[0] == '"C"' else f'"{" " * (len(found[0]) - 2)}"',
        without_comments(cuda),
    )


class _Scopes:
    """The functions of a text: which places are in none."""

    def __init__(self, text: str):
        self.text = text
        self.changes: list[tuple[int, int]] = []
        depth = 0
        opened: list[bool] = []
        for brace in re.finditer(r"[{}]", text):
            if brace[0] == "{":
                before = text[max(brace.start() - 80, 0) : brace.start()].rstrip()
                scope = re.search(r'(?:extern\s*"C"|\bnamespace(?:\s+[\w:]+)?)$', before)
                opened.append(not scope)
                depth += not scope
            elif opened:
                depth -= opened.pop()
            self.changes.append((brace.start(), depth))

    def on_file(self, at: int) -> bool:
        """Whether a place is in no function."""
        if re.search(r"(?m)^[ \t]*#(?:[^\n]*\\\n)*[^\n]*\Z", self.text[:at]):
            return False  # in the definition of a macro, which a function will use
        depth = 0
        for start, after in self.changes:
            if start > at:
                break
            depth = after
        return depth == 0
