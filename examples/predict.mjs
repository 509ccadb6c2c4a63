// Predict in Node with a model that was exported for wasm32:
//
//   node predict.mjs MODEL.wasm X0.bin [X1.bin ...]
//
// The files hold the inputs as raw numbers, row by row; the outputs are printed, one line a sample.
// A model that draws random numbers has new ones in every call; SEED in the environment starts them.
// Programs of your own use a package of the model, which has this loader: kcompile.export_npm.

import { readFileSync } from "node:fs";
import { arrayOf, create, elements } from "../kcompile/packages/javascript/model.js";

const [path, ...files] = process.argv.slice(2);
const { SEED } = process.env;
const model = await create(readFileSync(path), SEED === undefined ? {} : { seed: Number(SEED) });
const { inputs: wanted, outputs } = model.metadata;
const inputs = wanted.map((spec, i) => {
  const bytes = readFileSync(files[i]);
  const kind = arrayOf(spec.dtype);
  return new kind(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
});
const first = wanted.findIndex((spec) => typeof spec.shape[0] === "string");
const n = first < 0 ? 1 : inputs[first].length / elements(wanted[first], 1);
model.predict(n, inputs).forEach((output, i) => {
  const row = output.length / n;
  console.log(`# ${outputs[i].name}`);
  for (let s = 0; s < n; s++) console.log(Array.from(output.slice(s * row, (s + 1) * row)).join(" "));
});
