// A model that kcompile exported for wasm32, in any host of WebAssembly. It imports nothing.

const ARRAYS = {
  float32: Float32Array, float64: Float64Array, int32: Int32Array, int64: BigInt64Array,
  uint32: Uint32Array, uint64: BigUint64Array, uint8: Uint8Array, int8: Int8Array,
  int16: Int16Array, uint16: Uint16Array, bool: Uint8Array,
};
const PAGE = 65536;
const BAD_INDEX = 7;

// source: the file's bytes, a compiled module, or a response of `fetch` (or promises of these). A response is
// compiled while it arrives, where its server calls it application/wasm; else when it is whole.
export async function compile(source) {
  const given = await source;
  if (given instanceof WebAssembly.Module) return given;
  if (typeof Response === "undefined" || !(given instanceof Response)) return WebAssembly.compile(given);
  if (!given.ok) throw new Error(`${given.url}: ${given.status} ${given.statusText}`);
  const kind = given.headers.get("content-type")?.toLowerCase(); // what streams has no parameters
  if (kind === "application/wasm" && WebAssembly.compileStreaming) return WebAssembly.compileStreaming(given);
  return WebAssembly.compile(await given.arrayBuffer());
}

// seed: of a model that draws random numbers, new ones in every call.
export async function create(source, { seed = Math.floor(Math.random() * 2 ** 32) } = {}) {
  const module = await compile(source);
  const [section] = WebAssembly.Module.customSections(module, ".kcompile");
  if (section === undefined) throw new Error("not a model that kcompile exported");
  const metadata = JSON.parse(new TextDecoder().decode(section));
  return new Model(await WebAssembly.instantiate(module), metadata, seed);
}

export class Model {
  #exports;
  #prefix;
  #draw;

  // metadata: inputs and outputs with name, dtype and shape, where "n" is the batch ("2n" twice it).
  constructor(instance, metadata, seed) {
    this.metadata = metadata;
    this.#exports = instance.exports;
    this.#prefix = `kc_${metadata.name}_`;
    this.#draw = BigInt(seed) << 32n; // the seed above, the number of the call below
  }

  // n: samples. inputs: typed arrays in the order of metadata.inputs. Gives new typed arrays.
  predict(n, inputs) {
    const { inputs: wanted, outputs } = this.metadata;
    if (inputs?.length !== wanted.length) throw new TypeError(`expected ${wanted.length} input(s) in an array`);
    wanted.forEach((spec, i) => {
      if (!(inputs[i] instanceof ARRAYS[spec.dtype]) || inputs[i].length !== elements(spec, n)) {
        throw new TypeError(`${spec.name}: expected ${elements(spec, n)} numbers in a ${ARRAYS[spec.dtype].name}`);
      }
    });
    const need = Number.isInteger(n) ? Number(this.#call("workspace_size", BigInt(n), 1)) : 0;
    if (need === 0) throw new RangeError(`a batch of ${n} is not accepted`);

    // Memory above __heap_base is the caller's. The model keeps nothing there between calls.
    let end = this.#exports.__heap_base.value;
    const room = (size) => {
      const start = Math.ceil(end / 64) * 64;
      end = start + size;
      return start;
    };
    const sources = wanted.map((spec) => room(bytesOf(spec, n)));
    const targets = outputs.map((spec) => room(bytesOf(spec, n)));
    const [from, to] = [room(4 * sources.length), room(4 * targets.length)]; // tables of pointers
    const workspace = room(need);
    const memory = this.#exports.memory;
    if (end > memory.buffer.byteLength) memory.grow(Math.ceil((end - memory.buffer.byteLength) / PAGE));

    const view = (kind, start, length) => new kind(memory.buffer, start, length);
    view(Uint32Array, from, sources.length).set(sources);
    view(Uint32Array, to, targets.length).set(targets);
    wanted.forEach((spec, i) => view(ARRAYS[spec.dtype], sources[i], inputs[i].length).set(inputs[i]));
    // int64_t is a BigInt; the argument after it is the pool of threads: none.
    const draw = this.metadata.draws ? [this.#draw++] : [];
    const status = this.#call("run", BigInt(n), from, to, workspace, BigInt(need), 0, ...draw);
    if (status === BAD_INDEX) {
      const [check, , number, rows] = view(BigInt64Array, workspace, 5);
      const label = this.metadata.checks?.[Number(check)] ?? "an input";
      throw new RangeError(`${label}: expected numbers from 0 to ${rows - 1n}. Received: ${number}`);
    }
    if (status !== 0) throw new Error(`the model returned status ${status}`);
    return outputs.map((spec, i) => view(ARRAYS[spec.dtype], targets[i], elements(spec, n)).slice());
  }

  // For a sequence that comes in parts: what keeps the states of the model's layers, zeros at first. States are
  // the last inputs and the last outputs; a stream takes and gives the others. Streams are independent.
  stream() {
    const { states = 0, batch, inputs } = this.metadata;
    if (states === 0) throw new TypeError("the layers of this model keep no states");
    const own = inputs.length - states;
    let kept;
    const stream = {
      reset: () => {
        kept = inputs.slice(own).map((spec) => new ARRAYS[spec.dtype](elements(spec, batch)));
      },
      predict: (given) => {
        if (given?.length !== own) throw new TypeError(`expected ${own} input(s) in an array`);
        const made = this.predict(batch, [...given, ...kept]);
        kept = made.slice(made.length - states);
        return made.slice(0, made.length - states);
      },
    };
    stream.reset();
    return stream;
  }

  // Runs the sample in the file, and gives its error. Throws where it is more than the exporter allowed.
  selftest() {
    const size = Number(this.#call("selftest_size"));
    const at = Math.ceil(this.#exports.__heap_base.value / 64) * 64;
    const memory = this.#exports.memory;
    const end = at + 64 + size;
    if (end > memory.buffer.byteLength) memory.grow(Math.ceil((end - memory.buffer.byteLength) / PAGE));
    const status = this.#call("selftest", at + 64, BigInt(size), at);
    const error = new Float64Array(memory.buffer, at, 1)[0];
    if (status !== 0) throw new Error(`the self-test failed: status ${status}, error ${error}`);
    return error;
  }

  #call(name, ...args) {
    return this.#exports[this.#prefix + name](...args);
  }
}

// How many numbers an input or output of n samples has.
export function elements(spec, n) {
  const size = (d) => (typeof d === "number" ? d : n * (d === "n" ? 1 : parseInt(d, 10)));
  return spec.shape.reduce((count, d) => count * size(d), 1);
}

function bytesOf(spec, n) {
  return elements(spec, n) * ARRAYS[spec.dtype].BYTES_PER_ELEMENT;
}

// The typed array of a dtype.
export function arrayOf(dtype) {
  return ARRAYS[dtype];
}
