"""The photographs that come with other packages: read whole, and never in both parts."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from minidl.data import photographs
from minidl.data.readers.photographs import FILES, GREY
from minidl.errors import ArgumentError, DataError

pytest.importorskip("skimage")
pytest.importorskip("sklearn")


@pytest.mark.parametrize("part", FILES)
def test_photographs_are_bytes_with_channels_first(part):
    found = photographs(part)
    assert list(found) == list(FILES[part])
    for name, image in found.items():
        assert image.dtype == np.uint8 and image.ndim == 3
        assert len(image) == (1 if name in GREY else 3)
        assert min(image.shape[1:]) >= 300
        assert np.ptp(image) > 128, name  # neither black nor washed out


def test_a_photograph_has_the_pixels_that_scikit_image_gives():
    from skimage.data import astronaut, camera

    found = photographs("held-out")
    np.testing.assert_array_equal(found["astronaut"], astronaut().transpose(2, 0, 1))
    np.testing.assert_array_equal(found["camera"][0], camera())


def test_no_photograph_is_in_both_parts():
    training, held_out = (set(files.values()) for files in FILES.values())
    assert not training & held_out
    # The other half of the stereo pair shows the training scene once more.
    assert not any("motorcycle" in file for file in held_out)


def test_unknown_part_is_refused():
    with pytest.raises(ArgumentError, match="training"):
        photographs("test")


@pytest.mark.parametrize("package", ["skimage", "sklearn"])
def test_missing_package_is_named_with_what_installs_it(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DataError, match=rf"{package}.*\n.*minidl\[data\]"):
        for part in FILES:
            photographs(part)
