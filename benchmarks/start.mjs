// How long Node takes from the bytes of a module to its first prediction, and for a later one, in microseconds:
// node start.mjs MODEL.wasm
import { readFileSync } from "node:fs";
import { arrayOf, create, elements } from "../kcompile/packages/javascript/model.js";

const bytes = readFileSync(process.argv[2]);
const begin = performance.now();
const model = await create(bytes);
const inputs = model.metadata.inputs.map((spec) => new (arrayOf(spec.dtype))(elements(spec, 1)));
model.predict(1, inputs);
const first = performance.now() - begin;
let best = Infinity;
const stop = performance.now() + 300;
for (let calls = 1; performance.now() < stop; calls = Math.min(2 * calls, 1000)) {
  const start = performance.now();
  for (let i = 0; i < calls; i++) model.predict(1, inputs);
  best = Math.min(best, (performance.now() - start) / calls);
}
console.log(1000 * first, 1000 * best);
