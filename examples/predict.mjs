// Predict with a model that was exported for wasm32, in a browser or in Node (16 or newer):
//
//   import { load } from "./predict.mjs";
//   const model = await load(bytes);                  // an ArrayBuffer or Uint8Array: the file
//   const [y] = model.predict(n, [x]);                // typed arrays, one for each input and output
//
// In Node also: node predict.mjs MODEL.wasm X0.bin [X1.bin ...]
// The files hold the inputs as raw numbers, row by row; the outputs are printed, one line a sample.
// A model that draws random numbers has new ones in every call; load(bytes, seed) and SEED in the
// environment start them.

const ARRAYS = {
  float32: Float32Array, float64: Float64Array, int32: Int32Array, int64: BigInt64Array,
  uint32: Uint32Array, uint64: BigUint64Array, uint8: Uint8Array, int8: Int8Array,
  int16: Int16Array, uint16: Uint16Array, bool: Uint8Array,
};
const PAGE = 65536;

export async function load(bytes, seed = Math.floor(Math.random() * 2 ** 32)) {
  const module = await WebAssembly.compile(bytes);
  const [section] = WebAssembly.Module.customSections(module, ".kcompile");
  if (section === undefined) throw new Error("not a model that kcompile exported");
  const metadata = JSON.parse(new TextDecoder().decode(section));
  return new Model(await WebAssembly.instantiate(module), metadata, seed);
}

class Model {
  // metadata: inputs and outputs with name, dtype and shape, where "n" is the batch ("2n" twice it).
  constructor(instance, metadata, seed) {
    this.metadata = metadata;
    this.exports = instance.exports;
    this.prefix = `kc_${metadata.name}_`;
    this.draw = BigInt(seed) << 32n; // the seed above, the number of the call below
  }

  // n: samples. inputs: typed arrays in the order of metadata.inputs. Gives new typed arrays.
  predict(n, inputs) {
    const { inputs: wanted, outputs } = this.metadata;
    if (inputs.length !== wanted.length) throw new Error(`expected ${wanted.length} inputs`);
    wanted.forEach((spec, i) => {
      if (!(inputs[i] instanceof ARRAYS[spec.dtype]) || inputs[i].length !== elements(spec, n)) {
        throw new Error(`${spec.name}: expected ${elements(spec, n)} numbers in a ${spec.dtype} array`);
      }
    });
    const need = Number(this.call("workspace_size", BigInt(n), 1));
    if (need === 0) throw new Error(`a batch of ${n} is not accepted`);

    // Memory above __heap_base is the caller's. The model keeps nothing there between calls.
    let end = this.exports.__heap_base.value;
    const room = (size) => {
      const start = Math.ceil(end / 64) * 64;
      end = start + size;
      return start;
    };
    const sources = wanted.map((spec) => room(bytesOf(spec, n)));
    const targets = outputs.map((spec) => room(bytesOf(spec, n)));
    const [from, to] = [room(4 * sources.length), room(4 * targets.length)]; // tables of pointers
    const workspace = room(need);
    const memory = this.exports.memory;
    if (end > memory.buffer.byteLength) memory.grow(Math.ceil((end - memory.buffer.byteLength) / PAGE));

    const view = (kind, start, length) => new kind(memory.buffer, start, length);
    view(Uint32Array, from, sources.length).set(sources);
    view(Uint32Array, to, targets.length).set(targets);
    wanted.forEach((spec, i) => view(ARRAYS[spec.dtype], sources[i], inputs[i].length).set(inputs[i]));
    // int64_t is a BigInt; the argument after it is the pool of threads: none.
    const draw = this.metadata.draws ? [this.draw++] : [];
    const status = this.call("run", BigInt(n), from, to, workspace, BigInt(need), 0, ...draw);
    if (status !== 0) throw new Error(`the model returned status ${status}`);
    return outputs.map((spec, i) => view(ARRAYS[spec.dtype], targets[i], elements(spec, n)).slice());
  }

  call(name, ...args) {
    return this.exports[this.prefix + name](...args);
  }
}

function elements(spec, n) {
  const size = (d) => (typeof d === "number" ? d : n * (d === "n" ? 1 : parseInt(d, 10)));
  return spec.shape.reduce((count, d) => count * size(d), 1);
}

function bytesOf(spec, n) {
  return elements(spec, n) * ARRAYS[spec.dtype].BYTES_PER_ELEMENT;
}

if (typeof process !== "undefined" && process.argv[1]?.endsWith("predict.mjs")) {
  const { readFileSync } = await import("node:fs");
  const [path, ...files] = process.argv.slice(2);
  const model = await load(readFileSync(path), process.env.SEED);
  const inputs = model.metadata.inputs.map((spec, i) => {
    const bytes = readFileSync(files[i]);
    return new ARRAYS[spec.dtype](bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  });
  const first = model.metadata.inputs.findIndex((spec) => typeof spec.shape[0] === "string");
  const n = first < 0 ? 1 : inputs[first].length / elements(model.metadata.inputs[first], 1);
  model.predict(n, inputs).forEach((output, i) => {
    const row = output.length / n;
    console.log(`# ${model.metadata.outputs[i].name}`);
    for (let s = 0; s < n; s++) console.log(Array.from(output.slice(s * row, (s + 1) * row)).join(" "));
  });
}
