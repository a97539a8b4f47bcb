// The VAE's decoder, run in the browser: its weights are inlined in the page as
// base64 float32, and decoding is two loops. `decode` is global so that a test
// can compare it with Python.
"use strict";

const explorer = JSON.parse(document.getElementById("explorer-data").textContent);

function floats(base64) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}

const layers = explorer.layers.map((layer) => ({
  ...layer, weight: floats(layer.weight), bias: floats(layer.bias),
}));

const activations = {
  relu: (v) => Math.max(v, 0),
  tanh: Math.tanh,
  sigmoid: (v) => 1 / (1 + Math.exp(-v)),
};

// y[o] = activation(bias[o] + sum over c of weight[o, c] * x[c]), layer by layer.
function decode(z) {
  let x = Float32Array.from(z);
  for (const { inputs, outputs, weight, bias, activation } of layers) {
    const y = new Float32Array(outputs);
    for (let o = 0; o < outputs; o++) {
      let sum = bias[o];
      for (let c = 0; c < inputs; c++) sum += weight[o * inputs + c] * x[c];
      y[o] = activations[activation](sum);
    }
    x = y;
  }
  return x;
}

const plane = document.getElementById("plane");
const screen = document.getElementById("decoded");
const readout = document.getElementById("code");
const [height, width] = explorer.image;
const reach = explorer.reach; // the plane shows codes from -reach to +reach
screen.width = width;
screen.height = height;

const toPixel = (v, size) => ((v + reach) / (2 * reach)) * size;
const toCode = (p, size) => (p / size) * 2 * reach - reach;

function drawPlane(z) {
  const context = plane.getContext("2d");
  const size = plane.width;
  context.fillStyle = "#fff";
  context.fillRect(0, 0, size, size);
  context.strokeStyle = "#ddd";
  for (let v = Math.ceil(-reach); v <= reach; v++) {
    const at = toPixel(v, size);
    context.beginPath();
    context.moveTo(at, 0); context.lineTo(at, size);
    context.moveTo(0, at); context.lineTo(size, at);
    context.stroke();
  }
  explorer.codes.forEach(([a, b], i) => {
    context.fillStyle = explorer.colours[explorer.labels[i]];
    context.beginPath();
    context.arc(toPixel(a, size), toPixel(-b, size), 3, 0, 2 * Math.PI);
    context.fill();
  });
  context.strokeStyle = "#000";
  context.lineWidth = 2;
  context.beginPath();
  context.arc(toPixel(z[0], size), toPixel(-z[1], size), 8, 0, 2 * Math.PI);
  context.stroke();
  context.lineWidth = 1;
}

function show(z) {
  const pixels = decode(z);
  const context = screen.getContext("2d");
  const image = context.createImageData(width, height);
  pixels.forEach((p, i) => {
    const grey = Math.round(255 * p);
    image.data.set([grey, grey, grey, 255], 4 * i);
  });
  context.putImageData(image, 0, 0);
  readout.textContent = `z = (${z[0].toFixed(2)}, ${z[1].toFixed(2)})`;
  drawPlane(z);
}

plane.addEventListener("pointermove", (event) => {
  const box = plane.getBoundingClientRect();
  show([
    toCode(event.clientX - box.left, box.width),
    -toCode(event.clientY - box.top, box.height),
  ]);
});
plane.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
  if (!step) return;
  event.preventDefault();
  const [a, b] = readout.textContent.match(/-?[\d.]+/g).map(Number);
  show([a + 0.1 * step[0], b + 0.1 * step[1]]);
});

show([0, 0]);
