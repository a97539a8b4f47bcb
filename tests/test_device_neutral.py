"""All above the kernels runs on CuPy arrays: tried on a stand-in that is as strict as CuPy."""

from __future__ import annotations

import json

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl import nn, optim
from minidl.__main__ import main
from minidl.cuda import gpu
from minidl.data import ArrayDataset, DataLoader
from minidl.errors import DeviceError
from minidl.models.autoencoder import conv_autoencoder
from minidl.models.vae import conv_vae, mlp_vae
from minidl.samples import all_samples
from minidl.train import fit
from tests import strict_cupy

SAMPLES = all_samples()


@pytest.fixture(autouse=True)
def cupy(monkeypatch):
    made = strict_cupy.install(monkeypatch)
    with minidl.use_kernels("reference"):
        yield made


class OnDevice:
    """minidl.functional, which moves what stands in a sample's line to the device first."""

    def __init__(self, device):
        self.device = device

    def __getattr__(self, name):
        def call(*given, **settings):
            return getattr(F, name)(*map(self.moved, given),
                                    **{k: self.moved(v) for k, v in settings.items()})

        return call

    def moved(self, value):
        if isinstance(value, (list, tuple)) and any(isinstance(v, minidl.Tensor) for v in value):
            return type(value)(map(self.moved, value))
        if isinstance(value, np.ndarray):
            return minidl.tensor(value, device=self.device)
        elsewhere = isinstance(value, minidl.Tensor) and value.device != self.device
        return value.to(self.device) if elsewhere else value


def values(sample, device, order):
    """The outputs of a sample, its gradients, and the gradients of those."""
    inputs = [minidl.tensor(a, device=device, requires_grad=True) for a in sample.inputs()]
    found = sample.call(OnDevice(device), *inputs)
    outputs = list(found) if isinstance(found, (tuple, list)) else [found]
    everything = [*outputs]
    for _ in range(order):
        ends = [y for y in outputs if y.requires_grad]
        if not ends:
            break
        weights = [minidl.tensor(np.cos(np.arange(y.size)).reshape(y.shape), device=device)
                   for y in ends]
        slopes = minidl.grad(ends, inputs, weights, create_graph=True, allow_unused=True)
        outputs = [g for g in slopes if g is not None]
        everything += outputs
    assert {t.device for t in everything} == {device}
    return [t.detach().numpy() for t in everything]


@pytest.mark.parametrize("sample", SAMPLES, ids=[sample.name for sample in SAMPLES])
def test_op_and_its_derivatives_are_the_same_on_cupy_arrays(sample):
    here = values(sample, "cpu", min(sample.orders, 2))
    there = values(sample, "cuda", min(sample.orders, 2))
    assert len(here) == len(there)
    for a, b in zip(here, there, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-12)


# --- layers, optimisers, training ---


def network():
    """Most layers with memory of their own, and dropout."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.3), nn.LayerNorm(16), nn.Linear(16, 3),
    )


def trained(device, make, steps=3, clip=None):
    """Losses, and the weights in the end, of a few steps of an optimiser."""
    minidl.manual_seed(3)
    model = network().to(device)
    optimizer = make(model.parameters())
    x = minidl.random.normal((5, 1, 8, 8), device=device)
    labels = minidl.tensor([0, 2, 1, 1, 0], device=device)

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        if clip:
            clip(list(model.parameters()))
        return loss

    losses = [float(optimizer.step(closure)) for _ in range(steps)]
    assert {t.device for t in (*model.parameters(), *model.buffers())} == {device}
    state = optimizer.state_dict()
    optimizer.load_state_dict(state)
    return losses, model.state_dict()


OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "Adagrad": lambda p: optim.Adagrad(p, 0.1, lr_decay=0.1),
    "RMSprop": lambda p: optim.RMSprop(p, centered=True, momentum=0.5),
    "Adam": lambda p: optim.Adam(p, 0.01, amsgrad=True, weight_decay=0.1),
    "AdamW": lambda p: optim.AdamW(p, 0.01),
    "LBFGS": lambda p: optim.LBFGS(p, 0.5, max_iter=4),
    "LBFGS, searched": lambda p: optim.LBFGS(p, max_iter=4, line_search_fn="strong_wolfe"),
}
CLIPS = {
    "norm": lambda p: optim.clip_grad_norm_(p, 0.1),
    "largest": lambda p: optim.clip_grad_norm_(p, 0.1, np.inf),
    "value": lambda p: optim.clip_grad_value_(p, 0.01),
}


def assert_the_same(here, there):
    np.testing.assert_allclose(here[0], there[0], rtol=1e-6)
    assert here[1].keys() == there[1].keys()
    for name, values in here[1].items():
        np.testing.assert_allclose(there[1][name], values, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimiser_takes_the_same_steps_on_cupy_arrays(name):
    make = OPTIMIZERS[name]
    assert_the_same(trained("cpu", make), trained("cuda", make))


@pytest.mark.parametrize("name", CLIPS)
def test_gradients_are_clipped_alike_on_cupy_arrays(name):
    run = [trained(device, OPTIMIZERS["SGD"], clip=CLIPS[name]) for device in ("cpu", "cuda")]
    assert_the_same(*run)


def test_norm_of_all_gradients_is_fetched_once():
    ones = [minidl.ones(3, device="cuda", requires_grad=True) for _ in range(4)]
    for x in ones:
        x.grad = minidl.ones(3, device="cuda")
    strict_cupy.fetched.clear()
    assert optim.clip_grad_norm_(ones, 1.0) == pytest.approx(12**0.5)
    assert strict_cupy.fetched == {"tolist": 1}


def batches(device, **settings):
    images = np.random.default_rng(0).random((10, 1, 8, 8), np.float32)
    return DataLoader(ArrayDataset(images), 5, device=device, **settings)


def loss_of(model, batch):
    return model.loss(batch[0])


def test_the_current_gpu_may_be_named_by_its_number():
    x = minidl.tensor([1.0], device="cuda:0", requires_grad=True)
    assert x.device == minidl.zeros(2, device="cuda:0").device == "cuda"
    assert x.to("cuda:0").data is x.data and nn.Linear(1, 1).to("cuda:0").weight.device == "cuda"
    x.to("cpu").to("cuda:0").sum().backward()
    assert x.grad.device == "cuda"
    for device, told in (("cuda:1", "cuda:1 is not the current GPU, which is cuda:0"),
                         ("cuda:2", "there is no GPU cuda:2\n    this machine has cuda:0, cuda:1")):
        for put in (x.to, minidl.tensor([1.0]).to, nn.Linear(1, 1).to):
            with pytest.raises(DeviceError, match=told):
                put(device)


def test_a_numbered_gpu_without_a_gpu_gives_the_usual_error(cupy):
    cupy.cuda.is_available = lambda: False
    with pytest.raises(DeviceError, match="finds no GPU that it can use"):
        minidl.zeros(2, device="cuda:0")


def test_batches_are_handed_out_on_the_device_that_was_asked_for():
    for workers in (0, 1):
        assert [x.device for (x,) in batches("cuda", workers=workers)] == ["cuda", "cuda"]
    odd = batches("cuda", collate=lambda examples: {"n": len(examples)})
    assert list(odd) == [{"n": 5}, {"n": 5}]


def test_run_on_a_gpu_goes_on_from_its_checkpoint_as_if_it_had_never_stopped(tmp_path):
    ends = {}
    for out, parts in (("whole", (2,)), ("resumed", (1, 2))):
        for epochs in parts:
            minidl.manual_seed(0)
            model = mlp_vae((1, 8, 8), 2, (16,)).to("cuda")
            history = fit(model, batches("cuda", shuffle=True), optim.Adam(model.parameters()),
                          loss_of, epochs=epochs, out=tmp_path / out, resume=True, progress=False)
        ends[out] = history.column("loss"), model.state_dict()
    assert ends["whole"][0] == ends["resumed"][0]
    for name, values in ends["whole"][1].items():
        np.testing.assert_array_equal(ends["resumed"][1][name], values)


def test_step_of_training_waits_for_the_gpu_once():
    model = mlp_vae((1, 8, 8), 2, (16,)).to("cuda")
    steps = batches("cuda")
    strict_cupy.fetched.clear()
    fit(model, steps, optim.Adam(model.parameters()), loss_of, epochs=1, progress=False)
    assert strict_cupy.fetched == {"item": len(steps)}


@pytest.mark.parametrize("build", [conv_autoencoder, conv_vae])
def test_models_train_alike_on_the_cpu_and_by_kernels_on_cupy_arrays(build, monkeypatch):
    monkeypatch.setattr(gpu, "run", strict_cupy.run_emulated)
    losses = {}
    with minidl.use_kernels("default"):
        for device in ("cpu", "cuda"):
            minidl.manual_seed(0)
            model = build((1, 8, 8), 3, channels=(4, 8)).to(device)
            history = fit(model, batches(device), optim.Adam(model.parameters()), loss_of, epochs=2,
                          progress=False)
            losses[device] = history.column("loss")
    np.testing.assert_allclose(losses["cuda"], losses["cpu"], rtol=1e-5)


def test_demo_draws_the_same_page_on_either_device(tmp_path):
    pytest.importorskip("sklearn", reason="the demo needs minidl[demo]")
    pytest.importorskip("matplotlib", reason="the demo needs minidl[demo]")
    found = {}
    for device in ("cpu", "cuda"):
        out = tmp_path / device
        assert main(["demo", "--dry-run", "--device", device, "--out", str(out)]) == 0
        assert "Walk through the latent plane" in (out / "report.html").read_text("utf-8")
        found[device] = json.loads((out / "metrics.json").read_text())
    assert found["cuda"]["elbo"] == pytest.approx(found["cpu"]["elbo"], rel=1e-4)


@pytest.mark.parametrize("device, told", [("gpu", "there is no device 'gpu'"), ("cuda", "no GPU")])
def test_device_that_cannot_be_used_is_refused_before_anything_is_computed(
    device, told, cupy, capsys
):
    cupy.cuda.is_available = lambda: False
    with pytest.raises(SystemExit) as stopped:
        main(["demo", "--device", device])
    assert stopped.value.code == 2
    assert told in capsys.readouterr().err
