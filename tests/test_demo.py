"""The demo, whole: it trains, writes a page, and the page's decoder agrees with Python's."""

from __future__ import annotations

import argparse
import json
import re
import shutil

import numpy as np
import pytest

from minidl import nn, random
from minidl.commands import demo as demo_command
from minidl.commands.demo import measures, report
from minidl.errors import ArgumentError, MinidlError
from minidl.models.vae import conv_vae, mlp_vae

pytest.importorskip("sklearn", reason="the demo needs minidl[demo]")
pytest.importorskip("matplotlib", reason="the demo needs minidl[demo]")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A folder in which a short demo has run."""
    out = tmp_path_factory.mktemp("demo")
    parser = argparse.ArgumentParser()
    demo_command.add_arguments(parser)
    assert demo_command.main(parser.parse_args(["--out", str(out), "--dry-run"])) == 0
    return out


def test_missing_packages_are_noticed_before_training(monkeypatch, tmp_path):
    monkeypatch.setattr(demo_command, "find_spec", lambda name: None if name == "matplotlib" else 1)
    with pytest.raises(MinidlError, match=r"matplotlib cannot be imported\n.*minidl\[demo\]"):
        demo_command.main(argparse.Namespace())
    assert not list(tmp_path.iterdir())


def test_page_stands_alone(demo):
    page = (demo / "report.html").read_text("utf-8")
    assert not re.search(r"""(src|href)=["'](?!data:)""", page)
    assert "http://" not in page and "https://" not in page


@pytest.mark.parametrize(
    "title",
    ["Walk through the latent plane", "Two numbers per image", "Reconstructions", "The manifold",
     "One latent at a time", "New digits", "In numbers", "Loss curves"],
)
def test_page_has_every_section(demo, title):
    assert f"<h2>{title}</h2>" in (demo / "report.html").read_text("utf-8")


def test_metrics_hold_the_bound_below_the_log_likelihood(demo):
    metrics = json.loads((demo / "metrics.json").read_text())
    assert metrics["elbo"] < metrics["log_likelihood"] < 0
    assert set(metrics["purity"]) == {
        "raw pixels", "PCA, 10 components", "autoencoder, 10 latents", "VAE, 10 latents"}
    assert all(0.1 <= share <= 1 for share in metrics["purity"].values())


def test_manifold_is_spaced_by_the_inverse_gaussian():
    """A decoder that returns its code shows which codes were asked for."""

    class Codes(nn.Module):
        def decode(self, z):
            return z

    z = measures.manifold(Codes(), side=4)
    expected = [-1.150349, -0.318639, 0.318639, 1.150349]
    np.testing.assert_allclose(z[:4, 0], expected, atol=1e-5)
    np.testing.assert_allclose(z[::4, 1], expected[::-1], atol=1e-5)


def test_purity_is_one_for_clusters_and_a_tenth_for_chance():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 30)
    apart = np.eye(10)[labels] * 100 + rng.standard_normal((300, 10))
    assert measures.purity(apart, labels) == 1.0
    assert measures.purity(rng.standard_normal((300, 10)), labels) < 0.3


def test_explorer_refuses_a_decoder_the_page_cannot_run():
    with pytest.raises(ArgumentError, match="ConvTranspose2d"):
        report.decoder_layers(conv_vae((1, 8, 8), latent=2).decoder)


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium, or a skip that says what is missing."""
    selenium = pytest.importorskip("selenium", reason="driving Chromium needs selenium")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("needs chromium and chromedriver (Debian: chromium, chromium-driver)")
    from selenium import webdriver

    assert selenium
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                 "--disable-background-networking", "--window-size=1200,1400"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=driver)
    try:
        window = webdriver.Chrome(options=options, service=service)
    except Exception as cause:  # a browser that cannot start here is no fault of the page
        pytest.skip(f"Chromium does not start: {type(cause).__name__}: {cause}")
    yield window
    window.quit()


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_browser_decodes_as_python_does(browser, tmp_path, activation):
    random.manual_seed(0)
    model = mlp_vae((1, 8, 6), latent=2, hidden=(16, 12), activation=activation)
    codes = np.random.default_rng(0).standard_normal((5, 2))
    part = report.explorer(model.decoder, (8, 6), codes, np.arange(5))
    path = tmp_path / "page.html"
    path.write_text(report.page("test", "", [part]), "utf-8")
    browser.get(path.as_uri())
    expected = measures.decoded(model, codes).reshape(5, -1)
    for z, image in zip(codes.tolist(), expected, strict=True):
        drawn = browser.execute_script("return Array.from(decode(arguments[0]))", z)
        np.testing.assert_allclose(drawn, image, atol=1e-5)


def test_page_opens_without_an_error_and_follows_the_pointer(browser, demo):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By

    browser.get_log("browser")
    browser.get((demo / "report.html").as_uri())
    plane = browser.find_element(By.ID, "plane")
    code = browser.find_element(By.ID, "code")
    before = code.text, screen(browser)
    ActionChains(browser).move_to_element_with_offset(plane, 150, -120).perform()
    after = code.text, screen(browser)
    assert before[0] != after[0] and before[1] != after[1]
    across, up = map(float, re.findall(r"-?\d+\.\d+", after[0]))
    assert across > 0.5 and up > 0.5
    widths = browser.execute_script("return [...document.images].map(i => i.naturalWidth)")
    assert len(widths) >= 7 and all(widths)
    assert [e for e in browser.get_log("browser") if e["level"] == "SEVERE"] == []


def screen(browser) -> list[int]:
    """The pixels of the decoded digit, as the page drew them."""
    return browser.execute_script(
        "const c = document.getElementById('decoded');"
        "return Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data)"
    )
