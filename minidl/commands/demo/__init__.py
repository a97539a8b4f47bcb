"""``minidl demo``: the first lecture, from digits to a page one can play with."""
