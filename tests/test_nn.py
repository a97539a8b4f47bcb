"""Modules: what they register, save, load and show; and layers beside PyTorch's."""

from __future__ import annotations

import copy
import math
import pickle
import re

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl import nn
from minidl.errors import ArgumentError, CheckpointError, DtypeError, ShapeError
from minidl.nn import init

# Each builder is given minidl.nn or torch.nn, and has to mean the same in both.
LAYERS = {
    "Identity": (lambda nn: nn.Identity(1, two=2), (2, 3)),
    "Linear": (lambda nn: nn.Linear(5, 3), (2, 4, 5)),
    "Linear_without_bias": (lambda nn: nn.Linear(5, 3, bias=False), (4, 5)),
    "Flatten": (lambda nn: nn.Flatten(), (2, 3, 4, 5)),
    "Unflatten": (lambda nn: nn.Unflatten(1, (2, 3)), (4, 6, 5)),
    "Unflatten_from_the_end": (lambda nn: nn.Unflatten(-1, (3, -1)), (4, 6)),
    "Conv2d": (lambda nn: nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 2), 2), (2, 4, 7, 8)),
    "Conv2d_same": (lambda nn: nn.Conv2d(2, 3, (4, 3), padding="same", bias=False), (2, 2, 6, 5)),
    "Conv2d_reflect": (lambda nn: nn.Conv2d(2, 3, 3, padding=(2, 1), padding_mode="reflect"),
                       (2, 2, 6, 5)),
    "Conv2d_replicate": (lambda nn: nn.Conv2d(2, 3, 3, 2, 1, padding_mode="replicate"),
                         (2, 2, 6, 5)),
    "Conv2d_circular_same": (
        lambda nn: nn.Conv2d(2, 3, (4, 2), padding="same", padding_mode="circular"), (2, 2, 6, 5)),
    "Conv2d_of_one_image": (lambda nn: nn.Conv2d(2, 3, 3), (2, 6, 5)),
    "ConvTranspose2d": (lambda nn: nn.ConvTranspose2d(4, 6, (3, 2), (2, 3), (1, 0), (1, 0), 2),
                        (2, 4, 5, 3)),
    "ConvTranspose2d_dilated": (lambda nn: nn.ConvTranspose2d(2, 3, 3, bias=False, dilation=2),
                                (2, 2, 5, 3)),
    "MaxPool2d": (lambda nn: nn.MaxPool2d(3, 2, 1, ceil_mode=True), (2, 3, 7, 8)),
    "AvgPool2d": (lambda nn: nn.AvgPool2d((3, 2), 2, 1, count_include_pad=False), (2, 3, 7, 8)),
    "AdaptiveAvgPool2d": (lambda nn: nn.AdaptiveAvgPool2d((3, None)), (2, 3, 7, 8)),
    "Upsample": (lambda nn: nn.Upsample(scale_factor=2), (2, 3, 4, 5)),
    "Upsample_bilinear": (lambda nn: nn.Upsample((7, 9), mode="bilinear", align_corners=True),
                          (2, 3, 4, 5)),
    "PixelShuffle": (lambda nn: nn.PixelShuffle(2), (2, 8, 3, 4)),
    "PixelUnshuffle": (lambda nn: nn.PixelUnshuffle(2), (2, 2, 4, 6)),
    "BatchNorm1d": (lambda nn: nn.BatchNorm1d(3), (5, 3)),
    "BatchNorm1d_of_sequences": (lambda nn: nn.BatchNorm1d(3, eps=1e-2), (5, 3, 4)),
    "BatchNorm2d": (lambda nn: nn.BatchNorm2d(3, momentum=0.3), (2, 3, 4, 5)),
    "BatchNorm2d_mean_of_batches": (lambda nn: nn.BatchNorm2d(3, momentum=None, affine=False),
                                    (2, 3, 4, 5)),
    "BatchNorm2d_without_memory": (lambda nn: nn.BatchNorm2d(3, track_running_stats=False),
                                   (2, 3, 4, 5)),
    "InstanceNorm2d": (lambda nn: nn.InstanceNorm2d(3), (2, 3, 4, 5)),
    "InstanceNorm2d_affine": (lambda nn: nn.InstanceNorm2d(3, affine=True), (3, 4, 5)),
    "LayerNorm": (lambda nn: nn.LayerNorm((4, 5)), (2, 3, 4, 5)),
    "LayerNorm_without_bias": (lambda nn: nn.LayerNorm(5, bias=False), (2, 5)),
    "GroupNorm": (lambda nn: nn.GroupNorm(2, 6), (2, 6, 4, 5)),
    "LocalResponseNorm": (lambda nn: nn.LocalResponseNorm(3, 0.1, 0.5, 2.0), (2, 6, 4, 5)),
    "ReLU": (lambda nn: nn.ReLU(), (3, 4)),
    "LeakyReLU": (lambda nn: nn.LeakyReLU(0.2), (3, 4)),
    "PReLU": (lambda nn: nn.PReLU(), (3, 4)),
    "PReLU_per_channel": (lambda nn: nn.PReLU(3, 0.5), (2, 3, 4, 5)),
    "ELU": (lambda nn: nn.ELU(0.7), (3, 4)),
    "GELU": (lambda nn: nn.GELU(), (3, 4)),
    "GELU_tanh": (lambda nn: nn.GELU("tanh"), (3, 4)),
    "Softplus": (lambda nn: nn.Softplus(2.0, 1.0), (3, 4)),
    "Sigmoid": (lambda nn: nn.Sigmoid(), (3, 4)),
    "Tanh": (lambda nn: nn.Tanh(), (3, 4)),
    "LogSigmoid": (lambda nn: nn.LogSigmoid(), (3, 4)),
    "Softmax": (lambda nn: nn.Softmax(dim=1), (3, 4, 2)),
    "LogSoftmax": (lambda nn: nn.LogSoftmax(dim=-1), (3, 4)),
    "ReLU_in_place": (lambda nn: nn.ReLU(inplace=True), (3, 4)),
    "LeakyReLU_in_place": (lambda nn: nn.LeakyReLU(0.2, True), (3, 4)),
    "SiLU": (lambda nn: nn.SiLU(inplace=False), (3, 4)),
    "Mish": (lambda nn: nn.Mish(), (3, 4)),
    "Hardtanh": (lambda nn: nn.Hardtanh(-0.5, 0.3), (3, 4)),
    "ReLU6": (lambda nn: nn.ReLU6(), (3, 4)),
    "ZeroPad2d": (lambda nn: nn.ZeroPad2d((1, 2, 0, -1)), (2, 3, 4, 5)),
    "ConstantPad2d": (lambda nn: nn.ConstantPad2d(2, 3.5), (2, 3, 4, 5)),
    "ReflectionPad2d": (lambda nn: nn.ReflectionPad2d((1, 2, 3, 0)), (3, 4, 5)),
    "ReplicationPad2d": (lambda nn: nn.ReplicationPad2d(2), (2, 3, 4, 5)),
    "CircularPad2d": (lambda nn: nn.CircularPad2d(1), (2, 3, 4, 5)),
    "InstanceNorm2d_with_memory": (
        lambda nn: nn.InstanceNorm2d(3, affine=True, track_running_stats=True), (2, 3, 4, 5)),
    "Dropout_of_nothing": (lambda nn: nn.Dropout(0.0), (3, 4)),
    "Dropout2d_of_everything": (lambda nn: nn.Dropout2d(1.0), (2, 3, 4, 5)),
    "Sequential": (lambda nn: nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(),
                                            nn.Sequential(nn.Flatten(), nn.Linear(24, 2))),
                   (2, 1, 5, 6)),
}

LOSSES = {
    "MSELoss": (lambda nn, w: nn.MSELoss(reduction="sum"), "number"),
    "L1Loss": (lambda nn, w: nn.L1Loss(reduction="none"), "number"),
    "SmoothL1Loss": (lambda nn, w: nn.SmoothL1Loss(beta=0.3), "number"),
    "HuberLoss": (lambda nn, w: nn.HuberLoss(delta=0.3), "number"),
    "BCELoss": (lambda nn, w: nn.BCELoss(w), "share"),
    "BCEWithLogitsLoss": (lambda nn, w: nn.BCEWithLogitsLoss(w, pos_weight=2 * w), "share"),
    "CrossEntropyLoss": (lambda nn, w: nn.CrossEntropyLoss(w, ignore_index=1, label_smoothing=0.1),
                         "class"),
    "NLLLoss": (lambda nn, w: nn.NLLLoss(w, reduction="sum"), "class"),
}

each_layer = pytest.mark.parametrize("name", LAYERS)


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def twins(name: str, dtype: type) -> tuple:
    """A layer and PyTorch's, with equal weights, norms' no longer 1 and 0."""
    torch = pytest.importorskip("torch")
    build, shape = LAYERS[name]
    torch.manual_seed(3)
    theirs = build(torch.nn).to(torch.float32 if dtype == np.float32 else torch.float64)
    for p in theirs.parameters():
        p.data += 0.1 * torch.randn_like(p)
    ours = build(nn).to(dtype)
    ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    x = numbers(*shape).astype(dtype)
    return torch, ours, theirs, x


# --- beside PyTorch ---


@each_layer
def test_state_dict_has_the_names_shapes_and_dtypes_of_torch(name):
    torch = pytest.importorskip("torch")
    build = LAYERS[name][0]
    ours, theirs = build(nn).state_dict(), build(torch.nn).state_dict()
    assert list(ours) == list(theirs)
    for key, value in theirs.items():
        assert (ours[key].shape, ours[key].dtype) == (tuple(value.shape), value.numpy().dtype), key


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-6), (np.float64, 1e-12)])
@each_layer
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_outputs_and_gradients_equal_torch_with_its_weights(name, dtype, tolerance):
    torch, ours, theirs, x = twins(name, dtype)
    for _ in range(2):  # twice, for the running statistics
        y, expected = ours(minidl.tensor(x)), theirs(torch.from_numpy(x))
        assert y.dtype == dtype
        np.testing.assert_allclose(y.data, expected.detach(), tolerance, 2 * tolerance)
    weights = numbers(*y.shape, seed=1).astype(dtype)
    if list(ours.parameters()):
        y.backward(minidl.tensor(weights))
        expected.backward(torch.from_numpy(weights))
    gradients = {key: p.grad for key, p in theirs.named_parameters()}
    assert [key for key, _ in ours.named_parameters()] == list(gradients)
    for key, p in ours.named_parameters():
        scale = max(1.0, float(gradients[key].abs().max()))
        np.testing.assert_allclose(
            p.grad.data / scale, gradients[key] / scale, 0, 5 * tolerance, err_msg=key
        )
    for key, value in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[key], value, tolerance, tolerance)
    y, expected = ours.eval()(minidl.tensor(x)), theirs.eval()(torch.from_numpy(x))
    np.testing.assert_allclose(y.data, expected.detach(), tolerance, 2 * tolerance)


@each_layer
def test_repr_is_that_of_torch(name):
    torch = pytest.importorskip("torch")
    build = LAYERS[name][0]
    expected = repr(build(torch.nn)).replace(", inplace=False", "")
    # Its newest versions also show whether a norm has a bias.
    expected = re.sub(r"(Norm.*), bias=\w+", r"\1", expected)
    assert repr(build(nn)) == expected


@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_their_state_equal_torch(name):
    torch = pytest.importorskip("torch")
    build, kind = LOSSES[name]
    weight = np.array([0.5, 2.0, 1.5])
    x, target = numbers(4, 3), numbers(4, 3, seed=1)
    if kind == "share":
        target = 1 / (1 + np.exp(-target))
        x = 1 / (1 + np.exp(-x))
    if kind == "class":
        target = np.array([0, 2, 1, 2])
    ours, theirs = build(nn, weight), build(torch.nn, torch.from_numpy(weight))
    expected = theirs(torch.from_numpy(x), torch.from_numpy(target))
    np.testing.assert_allclose(ours(minidl.tensor(x), minidl.tensor(target)).data, expected, 1e-12)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert not list(ours.parameters())


def test_unpooling_layers_equal_torch():
    torch = pytest.importorskip("torch")
    x = numbers(2, 3, 7, 8)
    y, index = nn.MaxPool2d(2, return_indices=True)(minidl.tensor(x))
    their_y, their_index = torch.nn.MaxPool2d(2, return_indices=True)(torch.from_numpy(x))
    ours = nn.MaxUnpool2d(2)(y, index, output_size=x.shape)
    expected = torch.nn.MaxUnpool2d(2)(their_y, their_index, output_size=x.shape)
    np.testing.assert_array_equal(ours.data, expected)


def test_fixed_unpool_puts_values_into_top_left_corners():
    y = nn.FixedUnpool2d()(minidl.tensor(numbers(1, 2, 3, 4)))
    assert y.shape == (1, 2, 6, 8)
    np.testing.assert_array_equal(y.data[..., ::2, ::2], numbers(1, 2, 3, 4))
    assert np.count_nonzero(y.data) == 24


def test_embedding_equals_torch_and_spares_the_padding_row():
    torch = pytest.importorskip("torch")
    ours, theirs = nn.Embedding(6, 4, padding_idx=-5), torch.nn.Embedding(6, 4, padding_idx=-5)
    assert repr(ours) == repr(theirs)
    assert not ours.weight.data[1].any() and ours.weight.data[0].all()
    ours.load_state_dict({"weight": theirs.weight.detach().numpy()})
    indices = np.array([[0, 1, 5], [5, 1, 2]])
    y, expected = ours(minidl.tensor(indices)), theirs(torch.from_numpy(indices))
    np.testing.assert_array_equal(y.data, expected.detach())
    (y * y).sum().backward()
    (expected * expected).sum().backward()
    np.testing.assert_allclose(ours.weight.grad.data, theirs.weight.grad, 1e-6)
    assert not ours.weight.grad.data[1].any()


@pytest.mark.parametrize("size", [(9, 7), (10, 9), (2, 5, 10, 8)])
def test_output_size_of_a_transposed_convolution_equals_torch(size):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.ConvTranspose2d(2, 5, 3, stride=(2, 3), padding=1).double()
    ours = nn.ConvTranspose2d(2, 5, 3, stride=(2, 3), padding=1).to(np.float64)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    x = numbers(2, 2, 5, 3)
    y = ours(minidl.tensor(x), output_size=size)
    assert y.shape == (2, 5, *size[-2:])
    expected = theirs(torch.from_numpy(x), output_size=list(size))
    np.testing.assert_allclose(y.data, expected.detach(), 0, 1e-12)
    with pytest.raises(ShapeError, match="from \\(9, 7\\) to \\(10, 9\\)"):
        ours(minidl.tensor(x), output_size=(11, 7))


@pytest.mark.parametrize(
    "build",
    [lambda nn: nn.Linear(7, 300), lambda nn: nn.Conv2d(4, 300, (3, 2), groups=2),
     lambda nn: nn.ConvTranspose2d(300, 4, (3, 2), groups=2)],
)
def test_layers_start_from_the_distribution_that_torch_starts_from(build):
    torch = pytest.importorskip("torch")
    minidl.manual_seed(0)
    torch.manual_seed(0)
    ours, theirs = build(nn).weight.data, build(torch.nn).weight.detach().numpy()
    assert np.abs(ours).max() == pytest.approx(np.abs(theirs).max(), rel=0.02)  # the bound
    assert ours.std() == pytest.approx(theirs.std(), rel=0.1)
    assert abs(ours.mean()) < 0.1 * ours.std()


# --- registration ---


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.scale = nn.Parameter(np.ones(4, np.float32))
        self.register_buffer("shift", np.full(4, 0.5, np.float32))
        self.register_buffer("scratch", np.zeros(2), persistent=False)
        self.last = nn.Linear(4, 2, bias=False)

    def forward(self, x):
        return self.last(F.tanh(self.first(x)) * self.scale + self.shift)


def test_parts_are_found_by_name_own_ones_first():
    net = Net()
    assert [n for n, _ in net.named_parameters()] == [
        "scale", "first.weight", "first.bias", "last.weight"]
    assert [n for n, _ in net.named_buffers()] == ["shift", "scratch"]
    assert [n for n, _ in net.named_modules()] == ["", "first", "last"]
    assert [n for n, _ in net.named_children()] == ["first", "last"]
    assert list(net.children()) == [net.first, net.last]
    assert list(net.state_dict()) == [
        "scale", "shift", "first.weight", "first.bias", "last.weight"]
    assert {"scale", "shift", "first"} <= set(dir(net))


def test_shared_parts_are_counted_once_and_saved_under_each_name():
    net = Net()
    net.again = net.first
    net.tied = net.last.weight
    assert len(list(net.parameters())) == 4
    assert len(list(net.modules())) == 3 and len(list(net.children())) == 2
    state = net.state_dict()
    np.testing.assert_array_equal(state["again.weight"], state["first.weight"])
    np.testing.assert_array_equal(state["tied"], state["last.weight"])


def test_a_child_that_knows_its_parent_is_still_found_once():
    net = Net()
    net.first.parent = net
    assert len(list(net.parameters())) == 4 and not net.eval().first.training


def test_gradients_arrive_at_all_parameters_and_zero_grad_forgets_them():
    net = Net()
    net(minidl.tensor(numbers(5, 3), dtype=np.float32)).sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.data.any(), name
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_frozen_parameters_receive_no_gradient():
    net = Net()
    net.first.requires_grad_(False)
    nodes = [p.node for p in net.last.parameters()]
    net.last.requires_grad_()
    assert [p.node for p in net.last.parameters()] == nodes  # hooks and graphs stay
    net(minidl.tensor(numbers(5, 3), dtype=np.float32)).sum().backward()
    assert net.first.weight.grad is None and net.last.weight.grad is not None


def test_a_parameter_is_frozen_by_assignment():
    layer = nn.Linear(2, 1)
    layer.weight.requires_grad = False
    layer(minidl.ones((1, 2))).sum().backward()
    assert layer.weight.grad is None and layer.bias.grad is not None
    layer.weight.requires_grad = True
    y = layer(minidl.ones((1, 2)))
    layer.weight.requires_grad = True  # which it is: the graph goes on leading here
    y.sum().backward()
    assert layer.weight.grad.tolist() == [[1, 1]]


def test_a_registered_name_can_be_replaced():
    net = Net()
    net.first = nn.Identity()
    net.scale = nn.Parameter(np.zeros(1))
    net.shift = np.ones(3)
    assert [n for n, _ in net.named_parameters()] == ["scale", "last.weight"]
    assert isinstance(net.shift, minidl.Tensor) and net.shift.shape == (3,)
    net.last = None
    net.scale = nn.Linear(1, 1)  # a parameter's name, for a module
    assert list(net.state_dict()) == ["shift", "scale.weight", "scale.bias"]
    assert net.last is None


def test_a_plain_attribute_can_become_a_parameter():
    net = Net()
    net.extra = 3
    net.extra = nn.Parameter(np.ones(2))
    assert "extra" in net.state_dict()
    net.register_buffer("extra", np.ones(2), persistent=False)
    assert "extra" not in net.state_dict()
    net.register_buffer("extra", np.ones(2))
    assert "extra" in net.state_dict()


def test_deleting_an_attribute_unregisters_it():
    net = Net()
    del net.first, net.scale, net.scratch
    net.plain = 1
    del net.plain
    assert list(net.state_dict()) == ["shift", "last.weight"]
    with pytest.raises(AttributeError, match="Net has no attribute 'first'"):
        _ = net.first
    with pytest.raises(AttributeError):
        del net.first


@pytest.mark.parametrize("value", [np.ones(4), minidl.ones(4), 3])
def test_a_parameter_is_not_silently_replaced_by_something_untrained(value):
    with pytest.raises(nn.ModuleError, match="'scale' must be a Parameter or None"):
        Net().scale = value


@pytest.mark.parametrize("name", ["", "a.b", "forward", "parameters", 3])
def test_names_that_cannot_be_used_are_refused(name):
    with pytest.raises(nn.ModuleError, match="nothing can be registered as"):
        nn.Module().register_parameter(name, nn.Parameter(np.ones(2)))


def test_registering_the_wrong_kind_is_refused():
    with pytest.raises(nn.ModuleError, match="must be a Parameter"):
        nn.Module().register_parameter("weight", np.ones(2))
    with pytest.raises(nn.ModuleError, match="must be a Module"):
        nn.Module().add_module("layer", np.tanh)
    with pytest.raises(nn.ModuleError, match="must be a Module"):
        nn.Sequential(nn.ReLU(), F.relu)
    with pytest.raises(nn.ModuleError, match="must be a Module"):
        nn.ModuleList([None])


class Forgetful(nn.Module):
    def __init__(self, layer=None):
        self.width = 3
        if layer is not None:
            self.layer = layer

    def forward(self, x):
        return x


@pytest.mark.parametrize(
    "act",
    [lambda: Forgetful(nn.ReLU()), lambda: Forgetful(nn.Parameter(np.ones(1))),
     lambda: Forgetful()(1), lambda: list(Forgetful().parameters()),
     lambda: Forgetful().register_buffer("b", np.ones(1))],
)
def test_forgetting_super_init_is_explained(act):
    with pytest.raises(nn.ModuleError, match=r"super\(\).__init__\(\) the first line of Forgetful"):
        act()


def test_forgetting_forward_is_explained():
    with pytest.raises(NotImplementedError, match="ModuleList: forward is not written"):
        nn.ModuleList()(1)


def test_a_failing_property_says_why():
    class Broken(nn.Module):
        @property
        def half(self):
            return self.absent / 2

    with pytest.raises(AttributeError, match="'absent'"):
        _ = Broken().half


# --- modes, hooks, conversion, copies ---


def test_train_and_eval_reach_all_modules():
    net = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.9)))
    assert all(m.training for m in net.modules())
    assert net.eval() is net and not any(m.training for m in net.modules())
    x = minidl.ones((50, 50))
    np.testing.assert_array_equal(net(x).data, x.data)
    assert net.train() is net and all(m.training for m in net.modules())
    kept = net(x).data
    assert 0 < (kept != 0).mean() < 0.1 and kept.max() == pytest.approx(20, rel=1e-5)


def test_dropout2d_drops_whole_channels():
    y = nn.Dropout2d(0.5)(minidl.ones((20, 10, 2, 3))).data.reshape(200, 6)
    assert (y == y[:, :1]).all() and 0.2 < y[:, 0].mean() / 2 < 0.8


def test_hooks_see_and_replace_outputs_until_removed():
    layer, seen = nn.ReLU(), []
    x = minidl.tensor([-1.0, 2.0])
    first = layer.register_forward_hook(lambda module, inputs, y: seen.append((module, inputs, y)))
    second = layer.register_forward_hook(lambda module, inputs, y: y * 10)
    assert layer(x).tolist() == [0.0, 20.0]
    assert seen[0][0] is layer and seen[0][1] == (x,) and seen[0][2].tolist() == [0.0, 2.0]
    first.remove()
    third = layer.register_forward_hook(lambda module, inputs, y: y + 1)
    second.remove()
    second.remove()
    assert layer(x).tolist() == [1.0, 3.0] and len(seen) == 1
    third.remove()
    assert layer(x).tolist() == [0.0, 2.0]


def test_apply_visits_children_before_parents():
    net, visited = nn.Sequential(nn.ReLU(), nn.Sequential(nn.Tanh())), []
    assert net.apply(visited.append) is net
    assert visited == [net[0], net[1][0], net[1], net]


def test_to_changes_dtypes_and_keeps_the_objects():
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    before = [*net.parameters(), *net.buffers()]
    net(minidl.ones((4, 3)) * minidl.arange(4.0).reshape(4, 1)).sum().backward()
    assert net.to("float64") is net
    assert all(a is b for a, b in zip(before, [*net.parameters(), *net.buffers()], strict=True))
    assert all(p.dtype == np.float64 and p.grad.dtype == np.float64 for p in net.parameters())
    assert net[1].num_batches_tracked.dtype == np.int64
    net.zero_grad()
    net(minidl.tensor(numbers(4, 3))).sum().backward()
    assert all(p.grad.dtype == np.float64 for p in net.parameters())
    assert net.to("cpu")[0].weight.device == "cpu"


def test_conversions_have_short_names():
    net = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))
    for name, dtype in (("double", np.float64), ("half", np.float16), ("float", np.float32)):
        assert getattr(net, name)() is net
        assert {p.dtype for p in net.parameters()} == {np.dtype(dtype)}
    assert net.cpu() is net


def test_gradients_of_a_graph_from_before_a_conversion_still_arrive():
    layer = nn.Linear(3, 2)
    y = layer(minidl.ones((4, 3)))
    layer.to(np.float64)
    y.sum().backward()
    assert layer.weight.grad.dtype == np.float64
    np.testing.assert_array_equal(layer.weight.grad.data, np.full((2, 3), 4.0))


@pytest.mark.parametrize("target", ["gpu", np.int32, None, 3.5])
def test_to_refuses_what_is_neither_device_nor_floating_dtype(target):
    with pytest.raises(DtypeError, match="neither a device nor a floating dtype"):
        nn.Linear(2, 2).to(target)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_have_parameters_and_gradients_of_their_own(copied):
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    net.tied = net[0].weight
    twin = copied(net)
    assert twin.tied is twin[0].weight and isinstance(twin.tied, nn.Parameter)
    twin(minidl.tensor(numbers(4, 3), dtype=np.float32)).sum().backward()
    assert net[0].weight.grad is None and twin[0].weight.grad is not None
    twin[0].weight.data += 1
    assert (twin.state_dict()["0.weight"] != net.state_dict()["0.weight"]).all()
    assert not net[1].num_batches_tracked.data and twin[1].num_batches_tracked.data


def test_a_parameter_is_a_leaf_that_keeps_its_dtype():
    with minidl.no_grad():
        parameter = nn.Parameter(np.ones(2))
    assert parameter.requires_grad and parameter.is_leaf and parameter.dtype == np.float64
    assert nn.Parameter([1.0, 2.0]).dtype == np.float32
    assert not nn.Parameter(np.ones(2), requires_grad=False).requires_grad
    assert not hasattr(parameter, "__dict__")
    assert repr(nn.Parameter([1.0])) == "Parameter containing:\ntensor([1.], requires_grad=True)"
    with pytest.raises(DtypeError):
        nn.Parameter(np.arange(3))


def test_parameters_of_read_only_arrays_can_be_trained():
    fixed = np.broadcast_to(np.float32(1), (2, 3))
    parameter = nn.Parameter(fixed)
    parameter.data += 1
    assert (parameter.data == 2).all() and (fixed == 1).all()


# --- state ---


def test_state_dict_is_a_copy_in_c_order():
    net = nn.Linear(3, 2)
    net.weight.data = np.asfortranarray(net.weight.data)
    state = net.state_dict()
    assert type(state["weight"]) is np.ndarray and state["weight"].flags.c_contiguous
    state["weight"][...] = 7
    assert not (net.weight.data == 7).any()


def test_loading_copies_in_place_and_keeps_the_dtype():
    net = Net()
    arrays = [p.data for p in net.parameters()]
    state = {n: numbers(*v.shape) for n, v in net.state_dict().items()}
    state["last.weight"] = minidl.tensor(state["last.weight"])
    report = net.load_state_dict(state)
    assert report == ([], []) and report.missing_keys == [] and report.unexpected_keys == []
    assert all(a is p.data for a, p in zip(arrays, net.parameters(), strict=True))
    for name, value in net.state_dict().items():
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, np.asarray(state[name]), 1e-6)
    state["scale"][...] = 7
    assert not (net.scale.data == 7).any()


def wrong_state(net: nn.Module) -> dict[str, np.ndarray]:
    state = {n: v + 1 for n, v in net.state_dict().items()}
    del state["scale"], state["first.bias"]
    return {**state, "first.gain": np.ones(1), "other": np.ones(2)}


def test_loading_reports_everything_that_is_wrong_and_changes_nothing():
    net = Net()
    before = net.state_dict()
    state = wrong_state(net) | {"first.weight": np.ones((3, 4)), "shift": np.ones(4, complex)}
    with pytest.raises(CheckpointError) as caught:
        net.load_state_dict(state)
    for problem in (
        "missing: scale, shape (4,)",
        "missing: first.bias, shape (4,)",
        "unexpected: first.gain",
        "unexpected: other",
        "wrong shape: first.weight has (4, 3) here, (3, 4) was given",
        "wrong dtype: shift has float32 here, complex128 was given",
    ):
        assert problem in str(caught.value)
    assert all((before[n] == v).all() for n, v in net.state_dict().items())


def test_loading_less_strictly_returns_the_names_that_differ():
    net = Net()
    before = net.state_dict()
    report = net.load_state_dict(wrong_state(net), strict=False)
    assert report.missing_keys == ["scale", "first.bias"]
    assert report.unexpected_keys == ["first.gain", "other"]
    np.testing.assert_array_equal(net.scale.data, before["scale"])
    np.testing.assert_array_equal(net.last.weight.data, before["last.weight"] + 1)


def test_old_files_that_do_not_count_batches_are_loaded():
    norm = nn.Sequential(nn.BatchNorm2d(2))
    state = {k: v + 1 for k, v in norm.state_dict().items() if "tracked" not in k}
    assert norm.load_state_dict(state) == ([], [])
    assert norm[0].running_mean.tolist() == [1, 1] and norm[0].num_batches_tracked.item() == 0


def test_values_a_level_deeper_or_of_data_parallel_are_told_apart():
    layer = nn.Linear(1, 1)
    state = layer.state_dict()
    with pytest.raises(CheckpointError, match=r"state\['state_dict'\]"):
        layer.load_state_dict({"epoch": 3, "state_dict": state})
    with pytest.raises(CheckpointError, match=r"removeprefix\('module\.'\)"):
        layer.load_state_dict({f"module.{name}": value for name, value in state.items()})


def test_loading_less_strictly_still_refuses_wrong_shapes():
    net = Net()
    before = net.state_dict()
    with pytest.raises(CheckpointError, match="wrong shape: scale"):
        net.load_state_dict({**{n: v + 1 for n, v in before.items()}, "scale": np.ones(5)}, False)
    assert all((before[n] == v).all() for n, v in net.state_dict().items())


def test_running_statistics_survive_saving_and_a_reset_forgets_them():
    norm = nn.BatchNorm2d(3)
    norm(minidl.tensor(numbers(4, 3, 2, 2) + 5, dtype=np.float32))
    twin = nn.BatchNorm2d(3)
    twin.load_state_dict(norm.state_dict())
    x = minidl.tensor(numbers(1, 3, 2, 2), dtype=np.float32)
    np.testing.assert_array_equal(norm.eval()(x).data, twin.eval()(x).data)
    assert twin.num_batches_tracked.item() == 1 and twin.num_batches_tracked.shape == ()
    twin.reset_running_stats()
    fresh = nn.BatchNorm2d(3).state_dict()
    assert all((fresh[n] == v).all() for n, v in twin.state_dict().items())


# --- containers ---


def test_sequential_indexes_slices_and_changes():
    a, b, c = nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 4)
    net = nn.Sequential(a, b, c)
    assert len(net) == 3 and list(net) == [a, b, c] and net[-1] is c
    assert isinstance(net[:2], nn.Sequential) and list(net[:2]) == [a, b]
    assert list(net[1:].state_dict()) == ["2.weight", "2.bias"]  # names stay, as in torch
    net[1] = d = nn.Tanh()
    assert net.append(b) is net and list(net) == [a, d, c, b]
    del net[0]
    assert list(net) == [d, c, b] and list(net.state_dict()) == ["1.weight", "1.bias"]
    net.insert(0, a)
    del net[1:3]
    assert list(net) == [a, b]
    with pytest.raises(IndexError, match="no module 2 among 2"):
        net[2]


def test_appending_to_a_slice_loses_nothing():
    net = nn.Sequential(nn.ReLU(), nn.Tanh(), nn.ELU())[1:].append(nn.GELU())
    assert [type(m).__name__ for m in net] == ["Tanh", "ELU", "GELU"]


def test_sequential_takes_names():
    net = nn.Sequential({"encode": nn.Linear(3, 2), "squash": nn.Tanh()})
    assert list(net.state_dict()) == ["encode.weight", "encode.bias"]
    assert net.squash is net[1] and net(minidl.ones((1, 3))).shape == (1, 2)
    net.append(nn.Linear(2, 1))
    assert [n for n, _ in net.named_children()] == ["encode", "squash", "2"]


def test_module_list_registers_what_it_holds():
    layers = nn.ModuleList([nn.Linear(2, 2) for _ in range(3)])
    layers.extend([nn.ReLU()])
    assert len(layers) == 4 and len(list(layers.parameters())) == 6
    assert isinstance(layers[1:3], nn.ModuleList) and layers[1:3][0] is layers[1]
    assert list(layers.state_dict())[:2] == ["0.weight", "0.bias"]


def test_module_dict_registers_what_it_holds():
    parts = nn.ModuleDict({"encoder": nn.Linear(3, 2)})
    parts["decoder"] = nn.Linear(2, 3)
    assert list(parts) == list(parts.keys()) == ["encoder", "decoder"] and "decoder" in parts
    assert [name for name, _ in parts.items()] == ["encoder", "decoder"] and len(parts) == 2
    assert next(iter(parts.state_dict())) == "encoder.weight"
    decoder = parts.pop("decoder")
    assert isinstance(decoder, nn.Linear) and list(parts.values()) == [parts["encoder"]]
    del parts["encoder"]
    assert not list(parts.parameters())


# --- settings that are refused ---


@pytest.mark.parametrize(
    "build",
    [lambda: nn.Conv2d(3, 4, 3, groups=2), lambda: nn.Conv2d(2, 2, 0),
     lambda: nn.Conv2d(2, 2, 3, padding_mode="mirror"), lambda: nn.Conv2d(2, 2, 3, padding="full"),
     lambda: nn.Conv2d(2, 2, 3, 2, padding="same"),
     lambda: nn.ConvTranspose2d(2, 2, 3, padding_mode="reflect"),
     lambda: nn.ConvTranspose2d(2, 2, 3, padding="same"), lambda: nn.Dropout(1.5),
     lambda: nn.GroupNorm(2, 3), lambda: nn.Embedding(3, 2, 3), lambda: nn.Unflatten(1, (-1, -1)),
     lambda: nn.Linear(-1, 2)],
)
def test_impossible_settings_are_refused_when_a_layer_is_made(build):
    with pytest.raises(ArgumentError):
        build()


@pytest.mark.parametrize(
    "layer, shape",
    [(nn.BatchNorm2d(3), (2, 1, 4, 4)), (nn.BatchNorm2d(1), (2, 3, 4, 4)),
     (nn.BatchNorm2d(3), (2, 3, 4)), (nn.BatchNorm1d(3), (2, 3, 4, 4)),
     (nn.InstanceNorm2d(1, affine=True), (2, 3, 4, 4)), (nn.GroupNorm(1, 1), (2, 3, 4, 4)),
     (nn.PReLU(2), (2, 3)), (nn.Unflatten(1, (2, 2)), (3, 6))],
)
def test_channels_are_not_silently_broadcast(layer, shape):
    with pytest.raises(ShapeError):
        layer(minidl.ones(shape))


def test_running_statistics_of_instance_norm_are_pytorchs():
    norm = nn.InstanceNorm2d(2, track_running_stats=True, momentum=0.2, dtype=np.float64)
    x = minidl.tensor(np.arange(16.0).reshape(2, 2, 2, 2) ** 2)
    alone = norm(x)
    np.testing.assert_array_equal(alone.data, nn.InstanceNorm2d(2)(x).data)
    # PyTorch 2.13.
    np.testing.assert_allclose(norm.running_mean.data, [9.5, 21.5], rtol=1e-14)
    np.testing.assert_allclose(norm.running_var.data, [941 / 15, 2141 / 15], rtol=1e-13)
    y = norm.eval()(x)
    expected = [[-1.1994285675417022, -1.073172928853102],
                [-0.6944060127873013, -0.06312781934430012]]
    np.testing.assert_allclose(y.data[0, 0], expected, rtol=1e-12)
    assert list(norm.state_dict()) == ["running_mean", "running_var", "num_batches_tracked"]
    norm.reset_running_stats()
    assert norm.running_mean.tolist() == [0, 0] and norm.running_var.tolist() == [1, 1]


def test_in_place_is_accepted_and_changes_no_input():
    x = minidl.tensor([-1.0, 2.0])
    assert nn.ReLU(inplace=True)(x).tolist() == [0, 2] and x.tolist() == [-1, 2]
    for layer in (nn.LeakyReLU(0.1, True), nn.ELU(1.0, True), nn.SiLU(True), nn.Mish(True),
                  nn.ReLU6(True), nn.Dropout(0.1, True), nn.Dropout2d(0.1, True)):
        assert repr(layer).endswith("inplace=True)")


def test_new_activations_have_pytorchs_values_and_slopes():
    """PyTorch 2.13 at float64."""
    cases = [
        (nn.SiLU(),
         [-0.2384058440442351, -0.1887703343990727, 0.0, 0.7310585786300049, 6.993622641639196],
         [-0.09078424878489547, 0.2600388126973482, 0.5, 0.9276705118714869, 1.0054604970664518]),
        (nn.Mish(),
         [-0.2525014826957089, -0.22074377465173, 0.0, 0.8650983882673103, 6.999988379809741],
         [-0.1083550924203939, 0.28951067791351226, 0.6, 1.0490362200997922, 1.000021559160889]),
        (nn.Hardtanh(-0.5, 1.0), [-0.5, -0.5, 0, 1, 1], [0, 0, 1, 0, 0]),
        (nn.ReLU6(), [0, 0, 0, 1, 6], [0, 0, 0, 1, 0]),
    ]
    for layer, values, slopes in cases:
        x = minidl.tensor(np.array([-2.0, -0.5, 0.0, 1.0, 7.0]), requires_grad=True)
        y = layer(x)
        y.sum().backward()
        np.testing.assert_allclose(y.data, values, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(x.grad.data, slopes, rtol=1e-12, atol=1e-15)


def test_padding_layers_pad_left_right_top_bottom():
    image = minidl.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    assert nn.ZeroPad2d((1, 0, 0, 1))(image).tolist() == [[[0, 1, 2], [0, 3, 4], [0, 0, 0]]]
    assert nn.ReflectionPad2d((1, 0, 0, 0))(image).tolist() == [[[2, 1, 2], [4, 3, 4]]]
    assert nn.ReplicationPad2d((0, 1, 0, 0))(image).tolist() == [[[1, 2, 2], [3, 4, 4]]]
    assert nn.CircularPad2d((1, 0, 0, 0))(image).tolist() == [[[2, 1, 2], [4, 3, 4]]]
    assert nn.ConstantPad2d((0, 1, 0, 0), 9)(image).tolist() == [[[1, 2, 9], [3, 4, 9]]]
    with pytest.raises(ArgumentError, match="left, right, top"):
        nn.ZeroPad2d((1, 2))
    with pytest.raises(ShapeError, match=r"ZeroPad2d: x needs"):
        nn.ZeroPad2d(1)(minidl.ones(3))


def test_a_linear_layer_takes_lists_in_its_own_dtype():
    assert nn.Linear(2, 1)([[1, 2]]).dtype == np.float32
    layer = nn.Linear(2, 1, bias=False, dtype=np.float64)
    layer.load_state_dict({"weight": np.ones((1, 2))})
    assert layer([0.1, 0.2]).item() == 0.1 + 0.2


def test_an_error_inside_sequential_names_the_layer():
    net = nn.Sequential(nn.Flatten(), nn.Sequential(nn.ReLU(), nn.Linear(5, 3)))
    with pytest.raises(ShapeError) as caught:
        net(minidl.ones((2, 2, 3)))
    inner, outer = caught.value.__notes__
    assert inner == ("in layer 1 of Sequential, Linear(in_features=5, out_features=3, bias=True), "
                     "given shape (2, 6)")
    assert outer.startswith("in layer 1 of Sequential, Sequential(")


def test_hooks_before_a_layer_see_and_replace_its_inputs_until_removed():
    layer, seen = nn.Identity(), []
    first = layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs))
    second = layer.register_forward_pre_hook(lambda module, inputs: inputs[0] + 1)
    third = layer.register_forward_pre_hook(lambda module, inputs: (inputs[0] * 10,))
    assert layer(1) == 20 and seen == [(1,)]
    for hook in (first, second, third):
        hook.remove()
    assert layer(1) == 1 and seen == [(1,)]


def test_zero_grad_may_fill_with_zeros():
    layer = nn.Linear(2, 1)
    layer(minidl.ones((1, 2))).sum().backward()
    layer.zero_grad(set_to_none=False)
    assert layer.weight.grad.tolist() == [[0, 0]]
    layer.zero_grad(set_to_none=True)
    assert layer.weight.grad is None


# --- init ---


def filled(fill, *shape: int, dtype: type = np.float64, **settings) -> np.ndarray:
    minidl.manual_seed(7)
    x = nn.Parameter(np.full(shape, np.nan, dtype))
    array = x.data
    assert fill(x, **settings) is x and x.data is array
    return array


@pytest.mark.parametrize(
    "fill, settings, std",
    [(init.normal_, {"mean": 0.0, "std": 0.3}, 0.3),
     (init.uniform_, {"a": -0.6, "b": 0.6}, 0.6 / math.sqrt(3)),
     (init.xavier_uniform_, {"gain": 2.0}, 2 * math.sqrt(2 / (40 * 6 + 60 * 6))),
     (init.xavier_normal_, {}, math.sqrt(2 / (40 * 6 + 60 * 6))),
     (init.kaiming_uniform_, {"nonlinearity": "relu"}, math.sqrt(2 / (40 * 6))),
     (init.kaiming_normal_, {"a": 0.5, "mode": "fan_out"}, math.sqrt(2 / 1.25 / (60 * 6))),
     (init.kaiming_normal_, {"nonlinearity": "tanh"}, 5 / 3 / math.sqrt(40 * 6))],
)
def test_drawn_weights_have_the_variance_that_was_asked_for(fill, settings, std):
    values = filled(fill, 60, 40, 3, 2, **settings)
    assert values.std() == pytest.approx(std, rel=0.02)  # of 14,400 numbers
    assert abs(values.mean()) < 0.03 * std
    bounded = np.abs(values).max() < 1.7321 * std
    assert bounded == fill.__name__.endswith("uniform_")


def test_kaiming_keeps_the_variance_through_thirty_layers():
    minidl.manual_seed(0)
    x = minidl.tensor(numbers(200, 100))
    for _ in range(30):
        weight = nn.Parameter(np.zeros((100, 100)))
        x = F.relu(F.linear(x, init.kaiming_normal_(weight, nonlinearity="relu")))
    assert 0.2 < float((x * x).mean().item()) * 2 < 10


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5), (8, 3, 2, 2), (3, 2, 2, 2)])
def test_orthogonal_weights_are_orthogonal(shape):
    matrix = filled(init.orthogonal_, *shape, gain=2.0).reshape(shape[0], -1)
    small = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), 0, 1e-14 * 10)


def test_orthogonal_weights_are_drawn_evenly_over_both_signs():
    minidl.manual_seed(0)
    drawn = [init.orthogonal_(nn.Parameter(np.zeros((2, 2)))).data.copy() for _ in range(400)]
    assert 0.4 < np.mean([d[0, 0] > 0 for d in drawn]) < 0.6
    assert 0.4 < np.mean([np.linalg.det(d) > 0 for d in drawn]) < 0.6


@pytest.mark.parametrize("s", [2, 3, 4])
@pytest.mark.parametrize("groups", [1, 2])
def test_bilinear_weights_interpolate(s, groups):
    layer = nn.ConvTranspose2d(
        2, 2, 2 * s - s % 2, stride=s, padding=s // 2, groups=groups, bias=False
    ).to(np.float64)
    init.bilinear_(layer.weight, groups)
    inside = (slice(None), slice(None), slice(s, -s), slice(s, -s))
    constant = layer(minidl.tensor(np.full((1, 2, 5, 4), 3.0)))
    assert constant.shape == (1, 2, 5 * s, 4 * s)
    np.testing.assert_allclose(constant.data[inside], 3, 1e-13)
    x = minidl.tensor(numbers(1, 2, 5, 4))
    expected = F.interpolate(x, scale_factor=s, mode="bilinear")
    np.testing.assert_allclose(layer(x).data[inside], expected.data[inside], 0, 1e-13)


def test_bilinear_weights_fill_only_the_diagonal():
    weight = filled(init.bilinear_, 3, 2, 4, 4)
    assert [bool(weight[c, o].any()) for c in range(3) for o in range(2)] == [
        True, False, False, True, False, False]
    np.testing.assert_array_equal(weight[0, 0], np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16)


def test_a_seed_gives_the_same_weights_in_either_dtype():
    single = filled(init.kaiming_uniform_, 5, 4, dtype=np.float32)
    double = filled(init.kaiming_uniform_, 5, 4)
    np.testing.assert_array_equal(single, double.astype(np.float32))


def test_gains_equal_torch():
    torch = pytest.importorskip("torch")
    for name in ("linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        assert init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name))
    assert init.calculate_gain("leaky_relu", 0.3) == pytest.approx(
        torch.nn.init.calculate_gain("leaky_relu", 0.3)
    )


def test_init_refuses_what_it_cannot_fill():
    for fill in (init.xavier_normal_, init.kaiming_uniform_, init.orthogonal_, init.bilinear_):
        with pytest.raises(ShapeError):
            fill(nn.Parameter(np.zeros(3)))
    weight = nn.Parameter(np.zeros((3, 2)))
    with pytest.raises(ArgumentError, match="fan_in"):
        init.kaiming_normal_(weight, mode="fan")
    with pytest.raises(ArgumentError, match="leaky_relu"):
        init.kaiming_normal_(weight, nonlinearity="swish")


def test_layers_are_made_in_the_dtype_that_was_asked_for():
    for layer in (
        nn.Linear(2, 2, dtype=np.float64),
        nn.Conv2d(2, 2, 1, dtype="float64"),
        nn.ConvTranspose2d(2, 2, 1, dtype=np.float64),
        nn.Embedding(2, 2, dtype=np.float64),
        nn.PReLU(dtype=np.float64),
        nn.BatchNorm2d(2, dtype=np.float64),
        nn.InstanceNorm2d(2, affine=True, dtype=np.float64),
        nn.LayerNorm(2, dtype=np.float64),
        nn.GroupNorm(1, 2, dtype=np.float64),
    ):
        floating = [v for n, v in layer.state_dict().items() if n != "num_batches_tracked"]
        assert floating and all(v.dtype == np.float64 for v in floating), layer


def test_layers_without_inputs_or_rows_can_be_made():
    assert nn.Linear(0, 3)(minidl.ones((2, 0))).shape == (2, 3)
    assert nn.Unflatten(1, (2, -1))(minidl.ones((0, 6))).shape == (0, 2, 3)
