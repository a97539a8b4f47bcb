"""Chairs: what the renderer draws, what its transforms do, and the networks that learn from it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import minidl
from minidl import Tensor, nn, no_grad
from minidl.data.drawn.chair_styles import STYLES
from minidl.data.drawn.chair_transforms import (
    ChairTransform,
    TransformedChairs,
    apply_transform,
    curriculum,
    draw_transform,
)
from minidl.data.drawn.chairs import chair, chair_images, render, view_vector, views
from minidl.data.drawn.solids import beam, post
from minidl.data.loader import DataLoader
from minidl.errors import ArgumentError, ShapeError
from minidl.models.chairs import Drawn, OneStream, TwoStreams, morph, unpooled_convolution
from minidl.nn import init
from minidl.optim import Adam
from tests import strict_cupy


def count(model: nn.Module) -> int:
    return sum(p.size for p in model.parameters())


# --- renderer ---


def by_ray(thing, azimuth: float, elevation: float, x: float, y: float):
    """The textbook's way for one ray: clip it by every face of every solid. Colour or None."""
    a, e = np.deg2rad(azimuth), np.deg2rad(elevation)
    place = 4.0 * np.array((np.cos(e) * np.sin(a), np.cos(e) * np.cos(a), np.sin(e)))
    forward = -place / 4.0
    right = np.cross(forward, (0, 0, 1))
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    way = forward + (x * right + y * up) / (0.92 * np.sqrt(15))
    best, found = np.inf, None
    ends = [*thing.first_face]
    for begin, end in pairwise(ends):
        near, far, hit = 0.0, np.inf, None
        for f in range(begin, end):
            slope, gap = thing.normals[f] @ way, thing.offsets[f] - thing.normals[f] @ place
            if slope < 0 and gap / slope > near:
                near, hit = gap / slope, f
            elif slope > 0:
                far = min(far, gap / slope)
        if hit is not None and near < far and near < best:
            best, found = near, hit
    return found


@pytest.mark.parametrize("index", range(len(STYLES)))
def test_renderer_agrees_with_rays_clipped_face_by_face(index):
    thing, size = chair(index), 9
    azimuth, elevation = 40.0 + 50 * index, 25.0
    _, mask = render(thing, azimuth, elevation, size)
    centres = (2 * np.arange(3 * size) + 1) / (3 * size) - 1
    hits = [[by_ray(thing, azimuth, elevation, x, -y) is not None for x in centres]
            for y in centres]
    expected = np.array(hits, float).reshape(size, 3, size, 3).mean((1, 3))
    # Rays that graze an edge may round to either side: one of nine per pixel.
    assert np.abs(mask[0] - expected).max() < 0.12
    assert np.abs(mask[0] - expected).mean() < 0.002
    assert 0.05 < expected.mean() < 0.6


def assembled(*solids):
    """A Chair of these solids."""
    faces = [len(s.offsets) for s in solids]
    return chair(0)._replace(
        corners=np.concatenate([s.corners for s in solids]),
        first_corner=np.cumsum([0, *(len(s.corners) for s in solids[:-1])]),
        normals=np.concatenate([s.normals for s in solids]),
        offsets=np.concatenate([s.offsets for s in solids]),
        first_face=np.cumsum([0, *faces]),
        colours=np.repeat([s.colour for s in solids], faces, axis=0),
    )


def test_what_is_in_front_hides_what_is_behind():
    red, blue = np.array((0.8, 0.1, 0.1)), np.array((0.1, 0.1, 0.8))
    front = post((0, 0.4, -0.3), (0, 0.4, 0.3), (0.3, 0.1), red)
    back = post((0, -0.4, -0.3), (0, -0.4, 0.3), (0.5, 0.1), blue)
    for both in (assembled(front, back), assembled(back, front)):
        middle = render(both, 0, 0, 32)[0][:, 16, 16]
        assert middle[0] > 3 * middle[2]  # red from the front
        middle = render(both, 180, 0, 32)[0][:, 16, 16]
        assert middle[2] > 3 * middle[0]  # and blue from behind


def test_faces_seen_from_their_edge_leave_no_hole():
    grey = np.full(3, 0.5)
    whole = post((0, 0, -0.3), (0, 0, 0.3), (0.4, 0.2), grey)
    halves = [post((x, 0, -0.3), (x, 0, 0.3), (0.2, 0.2), grey) for x in (-0.2, 0.2)]
    # The camera is in the plane x = 0, where the halves meet.
    for a, b in zip(
        render(assembled(whole), 0, 20, 16), render(assembled(*halves), 0, 20, 16), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("sides", [4, 7])
def test_solids_hold_their_corners_and_no_more(sides):
    solids = (
        post((0, 0, 0), (0.1, 0.2, 1), (0.3, 0.2), np.ones(3), (0.15, 0.1), sides),
        beam((0, 0, 0), (1, 0.5, 0.2), (0.1, 0.05), np.ones(3), sides),
    )
    for solid in solids:
        inside = solid.corners @ solid.normals.T - solid.offsets
        assert inside.max() < 1e-9
        assert np.allclose(np.sort(inside, 0)[-sides:-1][-1], 0, atol=1e-9)
        assert np.allclose(np.linalg.norm(solid.normals, axis=1), 1)
        assert len(solid.normals) == sides + 2


def test_image_depends_on_its_number_and_seed_alone():
    few, many = chair_images(2, 16, azimuths=3), chair_images(5, 16, azimuths=3)
    for a, b in zip(few.arrays, many.arrays, strict=True):
        np.testing.assert_array_equal(a, b[: len(a)])
    assert np.abs(few.arrays[0] - chair_images(2, 16, seed=1, azimuths=3).arrays[0]).max() > 0.1


def test_images_masks_classes_and_views_have_the_promised_form():
    images, masks, numbers, vectors = chair_images(3, 20, azimuths=4).arrays
    assert images.shape == (24, 3, 20, 20) and masks.shape == (24, 1, 20, 20)
    assert {a.dtype.name for a in (images, masks, vectors)} == {"float32"}
    assert numbers.dtype == np.int64 and numbers.tolist() == [0] * 8 + [1] * 8 + [2] * 8
    assert images.min() >= 0 and images.max() <= 1 and masks.min() == 0 and masks.max() == 1
    # White where there is nothing, and not white where there is a chair.
    empty = np.broadcast_to(masks == 0, images.shape)
    assert (images[empty] == 1).all()
    assert (images.min(1, keepdims=True)[masks == 1] < 0.96).all()
    # Edges are shares, as antialiasing makes them.
    assert ((masks > 0) & (masks < 1)).mean() > 0.02


def test_default_views_are_the_papers_62():
    around = views()
    assert len(around) == 62 and set(around[:, 1]) == {20, 30}
    assert np.allclose(np.diff(around[:31, 0]), 360 / 31)
    v = view_vector(around[:, 0], around[:, 1])
    assert v.shape == (62, 4)
    assert np.allclose(v[:, :2] ** 2 @ [1, 1], 1) and np.allclose(v[:, 2:] ** 2 @ [1, 1], 1)


def test_no_view_of_any_style_leaves_the_picture():
    for index in range(len(STYLES)):
        for azimuth in (0, 45, 90):
            _, mask = render(chair(index), azimuth, 30, 24)
            frame = np.ones((24, 24), bool)
            frame[1:-1, 1:-1] = False
            assert mask[0][frame].max() == 0


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: chair_images(0), lambda: chair(-1), lambda: chair(0, -1), lambda: views(0),
        lambda: views(3, ()), lambda: render(chair(0), 0, 0, 0),
        lambda: apply_transform(np.ones((3, 4, 4)), np.ones((4, 4)), ChairTransform()),
        lambda: apply_transform(np.ones((3, 4, 4)), np.ones((1, 4, 4)), ChairTransform(zoom_x=0)),
    ],
)
def test_what_cannot_be_rendered_or_transformed_is_refused(wrong):
    with pytest.raises(ArgumentError, match="received"):
        wrong()


# --- transforms ---


@pytest.fixture(scope="module")
def pictured():
    return render(chair(1), 30, 20, 24)


def test_no_transform_changes_nothing(pictured):
    image, mask = apply_transform(*pictured, ChairTransform())
    np.testing.assert_allclose(image, pictured[0], atol=1e-5)
    np.testing.assert_allclose(mask, pictured[1], atol=1e-6)


def test_shifts_by_whole_pixels_move_the_chair(pictured):
    image, mask = apply_transform(*pictured, ChairTransform(dx=3 / 24, dy=-2 / 24))
    np.testing.assert_allclose(image[:, :-2, 3:], pictured[0][:, 2:, :-3], atol=1e-4)
    np.testing.assert_allclose(mask[:, :-2, 3:], pictured[1][:, 2:, :-3], atol=1e-4)


def test_a_quarter_turn_goes_clockwise(pictured):
    _, mask = apply_transform(*pictured, ChairTransform(angle=np.pi / 2))
    np.testing.assert_allclose(mask[0], np.rot90(pictured[1][0], -1), atol=1e-4)


def test_zooms_enlarge_along_their_own_axis(pictured):
    _, mask = apply_transform(*pictured, ChairTransform(zoom_x=0.5))
    narrow, before = (np.flatnonzero(m[0].max(0) > 0.5) for m in (mask, pictured[1]))
    assert abs(np.ptp(narrow) + 1 - (np.ptp(before) + 1) / 2) <= 2
    rows, before = (np.flatnonzero(m[0].max(1) > 0.5) for m in (mask, pictured[1]))
    assert abs(np.ptp(rows) - np.ptp(before)) <= 2


def test_colours_change_where_the_chair_is_and_the_mask_does_not(pictured):
    full = pictured[1][0] == 1
    for change in ({"saturation": 2.0}, {"lightness": 0.5}, {"colour_angle": 1.0}):
        image, mask = apply_transform(*pictured, ChairTransform(**change))
        np.testing.assert_allclose(mask, pictured[1], atol=1e-6)
        assert np.abs(image - pictured[0])[:, full].mean() > 0.02
        np.testing.assert_allclose(image[:, pictured[1][0] == 0], 1, atol=1e-5)
    grey, _ = apply_transform(*pictured, ChairTransform(saturation=1e-9))
    assert np.ptp(grey[:, full], axis=0).max() < 1e-5
    dark, _ = apply_transform(*pictured, ChairTransform(lightness=0.5, saturation=0.5))
    np.testing.assert_allclose(dark[:, full], pictured[0][:, full] / 2, atol=1e-5)


def test_vector_holds_logs_in_the_documented_places_only():
    t = ChairTransform(0.1, -0.05, 0.2, 2.0, 0.5, np.e, 1 / np.e, 1.5).vector()
    expected = np.zeros(28)
    expected[[1, 2, 3, 4, 5, 22, 23, 26, 27]] = (
        0.1, -0.05, 0.2, np.log(2), -np.log(2), 1, 1, -1, 1.5
    )
    np.testing.assert_allclose(t, expected, atol=1e-6)


def test_transforms_are_drawn_from_the_published_ranges():
    rng = np.random.default_rng(0)
    drawn = np.array([draw_transform(rng) for _ in range(2000)])
    logs = np.log(drawn[:, [3, 4, 5, 6]])
    widths = np.abs(np.concatenate([drawn[:, :3], logs, drawn[:, 7:]], 1)).max(0)
    published = np.array((0.1, 0.1, 0.2, 0.4, 0.4, 0.7, 0.7, 1.5))
    assert (widths <= published).all() and (widths > 0.93 * published).all()
    assert np.abs(logs[:, 0] + logs[:, 1]).max() <= 0.6  # the zoom that both axes share
    assert np.abs(logs[:, 0] - logs[:, 1]).max() <= 0.2  # and the squeeze
    assert not draw_transform(rng, 0.0).vector().any()


def test_curriculum_rises_from_start_to_end():
    assert curriculum(0, 0.2) == 0.2 and curriculum(10**7, 0.2) == pytest.approx(1)
    assert curriculum(100_000) == pytest.approx(2 / (1 + np.exp(-1)) - 1)


def test_transformed_chairs_can_be_repeated_by_a_loader():
    dataset = TransformedChairs(chair_images(2, 16, azimuths=2))
    image, _, number, _, t = dataset[3]
    np.testing.assert_array_equal(image, dataset[3][0])
    assert image.shape == (3, 16, 16) and t.shape == (28,) and t.any() and number == 0
    batch = next(iter(DataLoader(dataset, batch_size=8)))
    assert [part.shape for part in batch] == [
        (8, 3, 16, 16), (8, 1, 16, 16), (8,), (8, 4), (8, 28)
    ]


# --- networks ---


@pytest.fixture
def undrawn(monkeypatch):
    """Weights stay the zeros they are made of, which take no memory until they are read."""
    for name in ("uniform_", "normal_", "orthogonal_"):
        monkeypatch.setattr(init, name, lambda x, *args, **kwargs: x)


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (TwoStreams, 31_893_694),
        (lambda: TwoStreams(size=64), 31_656_370),
        (OneStream, 22_816_429),
    ],
    ids=["128", "64", "1s-S-deep"],
)
def test_networks_have_the_released_number_of_parameters(undrawn, build, expected):
    assert count(build()) == expected


def narrow(kind=TwoStreams, **options):
    return kind(**{"classes": 4, "transforms": 28, "size": 32, "width": 1 / 16, **options})


@pytest.mark.parametrize("size", [32, 64, 128])
def test_each_size_draws_pictures_of_that_size(size):
    for kind, channels in ((TwoStreams, 3), (OneStream, 2)):
        with no_grad():
            drawn = narrow(kind, size=size)(np.array([0, 3]), view_vector([0, 90], 20))
        assert drawn.rgb.shape == (2, 3, size, size)
        assert drawn.mask.shape == (2, channels, size, size)


def test_transposed_convolution_is_unpooling_and_convolution():
    # Stride 2 and padding 2 paint the window around pixel (2 i, 2 j) of the output, which is where
    # unpooling puts the value (i, j); so the convolution's window is turned by 180 degrees.
    layer = unpooled_convolution(3, 5)
    x = Tensor(np.random.default_rng(0).standard_normal((2, 3, 4, 6)).astype(np.float32))
    conv = nn.Conv2d(3, 5, 5, padding=2)
    turned = np.swapaxes(layer.weight.detach().numpy(), 0, 1)[:, :, ::-1, ::-1]
    conv.load_state_dict({"weight": turned.copy(), "bias": layer.bias.detach().numpy().copy()})
    apart = nn.Sequential(nn.FixedUnpool2d(2), conv)
    assert layer(x).shape == (2, 5, 8, 12)
    np.testing.assert_allclose(layer(x).detach().numpy(), apart(x).detach().numpy(), atol=1e-5)


def test_class_numbers_are_one_hot_vectors_and_no_transform_is_zeros():
    model, v = narrow(), view_vector([10, 200], [20, 30])
    with no_grad():
        a = model(np.array([2, 0]), v)
        b = model(np.eye(4, dtype=np.float32)[[2, 0]], v, np.zeros((2, 28), np.float32))
    np.testing.assert_array_equal(a.rgb.numpy(), b.rgb.numpy())


def test_loss_is_ten_to_one_and_sums_over_pixels():
    model = narrow()
    image, mask = np.full((2, 3, 32, 32), 0.5), np.ones((2, 1, 32, 32))
    mask[:, :, :16] = 0
    target = image * mask

    def loss(rgb_off, mask_off, channels=3, **how):
        drawn = Drawn(Tensor(target + rgb_off), Tensor(np.repeat(mask, channels, 1) + mask_off))
        return float(model.loss(drawn, image, mask, **how))

    assert loss(0, 0) == 0
    assert loss(0.1, 0) == pytest.approx(10 / 2 * 3 * 32 * 32 * 0.01)
    assert loss(0, 0.1) == pytest.approx(1 / 2 * 3 * 32 * 32 * 0.01)
    assert loss(0, 0.1, channels=1) == pytest.approx(loss(0, 0.1))
    assert loss(0.1, 0.2, reduction="mean") == pytest.approx(5 * 0.01 + 0.5 * 0.04)
    with pytest.raises(ArgumentError, match="reduction"):
        loss(0, 0, reduction="none")


def test_softmax_mask_is_charged_by_cross_entropy():
    model = narrow(OneStream)
    scores, rng = np.zeros((1, 2, 32, 32)), np.random.default_rng(0)
    scores[:, 1] = rng.standard_normal((32, 32))
    image, mask = np.zeros((1, 3, 32, 32)), rng.random((1, 1, 32, 32))
    drawn = Drawn(Tensor(image), Tensor(scores))
    p = 1 / (1 + np.exp(-scores[:, 1:]))
    np.testing.assert_allclose(model.coverage(drawn).numpy(), p, atol=1e-6)
    expected = -(mask * np.log(p) + (1 - mask) * np.log(1 - p)).sum()
    assert float(model.loss(drawn, image, mask)) == pytest.approx(expected)
    assert float(model.loss(drawn, image.tolist(), mask.tolist())) == pytest.approx(expected)
    off = Drawn(Tensor(image + 0.1), Tensor(scores))
    extra = float(model.loss(off, image, mask)) - expected
    assert extra == pytest.approx(100 / 2 * 3 * 32 * 32 * 0.01)


def test_pictures_are_composed_on_white():
    model = narrow()
    mask = np.zeros((1, 3, 32, 32))
    mask[..., 16:], mask[..., :4] = 1.2, -0.3
    picture = model.compose(Drawn(Tensor(np.full((1, 3, 32, 32), 0.25)), Tensor(mask))).numpy()
    assert (picture[..., :16] == 1).all() and (picture[..., 16:] == 0.25).all()


@pytest.mark.parametrize("kind", [TwoStreams, OneStream])
@pytest.mark.parametrize("start", ["new_version", "release"])
def test_gradients_reach_every_parameter(kind, start):
    minidl.manual_seed(0)
    model = narrow(kind, **({"start": start} if kind is TwoStreams else {}))
    data = chair_images(4, 32, azimuths=1)
    t = np.random.default_rng(0).standard_normal((8, 28)).astype(np.float32)
    images, masks, numbers, vectors = data.arrays
    model.loss(model(numbers, vectors, t), images, masks).backward()
    for name, p in model.named_parameters():
        assert p.grad is not None and np.abs(p.grad.numpy()).max() > 0, name


def test_new_version_keeps_the_signal_and_release_is_orthonormal():
    minidl.manual_seed(0)
    model = TwoStreams(classes=8, size=32, width=0.25)
    spread = model.rgb[3].weight.detach().numpy().std()
    assert spread == pytest.approx((8 / (64 * 25)) ** 0.5, rel=0.05)
    assert model.rgb[-1].weight.detach().numpy().std() == pytest.approx(
        (0.1 / (64 * 25)) ** 0.5, rel=0.1
    )
    assert model.of_class[0].weight.detach().numpy().std() == pytest.approx(1, rel=0.1)
    assert model.of_view[0].weight.detach().numpy().std() == pytest.approx(0.5**0.5, rel=0.15)
    with no_grad():
        h = model.joint(Tensor(np.random.default_rng(0).random((64, 384), np.float32)))
        grown = model.rgb[:5](h)
    assert 0.3 < grown.numpy().std() / h.numpy().std() < 3
    weight = narrow(start="release").joint[0].weight.detach().numpy()
    np.testing.assert_allclose(weight @ weight.T, np.eye(64), atol=1e-5)


@pytest.mark.parametrize("kind", [TwoStreams, OneStream])
def test_narrow_network_learns_a_few_chairs_by_heart(kind):
    minidl.manual_seed(0)
    images, masks, numbers, vectors = chair_images(4, 32, azimuths=2, elevations=(20,)).arrays
    model = narrow(kind, width=1 / 8)
    optimizer = Adam(model.parameters(), 2e-3)
    losses = []
    for _ in range(60):
        loss = model.loss(model(numbers, vectors), images, masks, "mean")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.15 * losses[0]
    with no_grad():
        drawn = model(numbers, vectors)
    covered = (model.coverage(drawn).numpy() > 0.5) == (masks > 0.5)
    assert covered.mean() > 0.9


def test_morphs_go_from_one_chair_to_the_other():
    mixes = morph(1, 3, 4)
    assert mixes.shape == (7, 4) and np.allclose(mixes.sum(1), 1)
    assert mixes[0].tolist() == [0, 1, 0, 0] and mixes[-1].tolist() == [0, 0, 0, 1]
    assert morph(2, 2, 4)[3].tolist() == [0, 0, 1, 0]
    with pytest.raises(ArgumentError, match="classes 0 to 3"):
        morph(0, 4, 4)


def test_unknown_sizes_starts_and_shapes_are_refused():
    with pytest.raises(ArgumentError, match="size is one of"):
        narrow(size=48)
    for wrong in ({"width": 0}, {"classes": 0}, {"transforms": 0}):
        with pytest.raises(ArgumentError, match="above 0"):
            narrow(**wrong)
    with pytest.raises(ArgumentError, match="choose one of"):
        narrow(start="zeros")
    with pytest.raises(ShapeError, match=r"\(2, 3\)"):
        narrow()(np.zeros((2, 3), np.float32), np.zeros((2, 4), np.float32))


@pytest.mark.parametrize("kind", [TwoStreams, OneStream])
def test_device_gives_the_same_numbers(monkeypatch, kind):
    strict_cupy.install(monkeypatch)
    images, masks, numbers, vectors = chair_images(1, 32, azimuths=1).arrays
    found = []
    with minidl.use_kernels("reference"):
        for device in ("cpu", "cuda"):
            minidl.manual_seed(0)
            model = narrow(kind).to(device)
            c, v, x, m = (
                minidl.tensor(part[:1], device=device) for part in (numbers, vectors, images, masks)
            )
            drawn = model(c, v)
            model.loss(drawn, x, m).backward()
            found.append([
                model.compose(drawn).detach().numpy(),
                *(p.grad.numpy() for p in model.parameters() if p.grad is not None),
            ])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-3, atol=1e-4)
