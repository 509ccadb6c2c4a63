// One side of `python -m benchmarks.tensorflow_js`: node tensorflow_js.mjs ours|theirs. Prints as JSON: milliseconds
// from the start of the process to the first prediction, and of a prediction of each batch; and what was predicted.
// Beside it: kcompile's package in ours/, and for TensorFlow.js layers.json, with inputs and weights in base64.
import { readFileSync } from "node:fs";

const BATCHES = [1, 32];
const { layers, x } = JSON.parse(readFileSync(new URL("./layers.json", import.meta.url)));
const floats = (text) => {
  const bytes = Buffer.from(text, "base64");
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
};
const images = floats(x), each = 64;

async function ours() {
  const { load } = await import("./ours/node.js");
  const model = await load();
  return (n) => model.predict(n, [images.subarray(0, n * each)])[0];
}

async function theirs() {
  const warn = console.warn;
  console.warn = () => {}; // it says that there are faster packages for Node, which are not of WebAssembly
  const tf = await import("@tensorflow/tfjs");
  await import("@tensorflow/tfjs-backend-wasm");
  await tf.setBackend("wasm");
  console.warn = warn;
  const kinds = { Conv2D: tf.layers.conv2d, MaxPooling2D: tf.layers.maxPooling2d, Flatten: tf.layers.flatten,
                  Dense: tf.layers.dense };
  const model = tf.sequential({ layers: layers.map(({ kind, config }) => kinds[kind](config)) });
  layers.forEach(({ weights }, i) =>
    model.layers[i].setWeights(weights.map(({ shape, data }) => tf.tensor(floats(data), shape))));
  return (n) => tf.tidy(() => model.predict(tf.tensor(images.subarray(0, n * each), [n, 8, 8, 1])).dataSync());
}

const predict = await { ours, theirs }[process.argv[2]]();
predict(1);
const start = performance.now(); // since the process began
const found = { start, times: {}, outputs: Array.from(predict(32)) };
for (const n of BATCHES) {
  const times = [], until = performance.now() + 1000;
  for (let i = 0; i < 50; i++) predict(n);
  while (performance.now() < until) {
    const before = performance.now();
    for (let i = 0; i < 10; i++) predict(n);
    times.push((performance.now() - before) / 10);
  }
  found.times[n] = times.sort((a, b) => a - b)[times.length >> 1];
}
console.log(JSON.stringify(found));
