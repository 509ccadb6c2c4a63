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
  #module;
  #draw;

  // metadata: inputs and outputs with name, dtype and shape, where "n" is the batch ("2n" twice it).
  constructor(instance, metadata, seed) {
    this.metadata = metadata;
    this.#module = new Functions(instance.exports, metadata);
    this.#draw = BigInt(seed) << 32n; // the seed above, the number of the call below
  }

  // n: samples. inputs: typed arrays in the order of metadata.inputs. Gives new typed arrays.
  predict(n, inputs) {
    return this.#module.predict("run", n, inputs, [], this.#draws());
  }

  #draws() {
    return this.metadata.draws ? [this.#draw++] : [];
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

  // Of a model exported with its training step: what trains it, in memory of its own. Trainers are independent.
  trainer() {
    if (!this.metadata.step) throw new TypeError("this model was exported without a training step (train=True)");
    return new Trainer(this.#module, this.metadata, () => this.#draws());
  }

  // Runs the sample in the file, and gives its error. Throws where it is more than the exporter allowed.
  selftest() {
    return this.#module.selftest("");
  }
}

// What a model learns: weights, what the optimizer keeps of them, its learning rate, the number of the step.
export class Trainer {
  #module;
  #state; // where it begins
  #step;
  #draws;
  #metadata;

  constructor(module, metadata, draws) {
    [this.#module, this.#metadata, this.#step, this.#draws] = [module, metadata, metadata.step, draws];
    this.#state = module.keep(Number(module.call("state_size")));
    this.reset();
  }

  // Begin anew, with the weights as they were exported.
  reset() {
    this.#module.call("state_init", this.#state, this.#module.call("state_size"));
  }

  // One step. inputs: those of the model, labels, and weights of samples, which may be left out, or null: each
  // sample counts as 1. Gives the loss of these samples before the step, and the metrics, by name.
  train(n, inputs) {
    const { inputs: wanted, weights, outputs, report } = this.#step;
    const given = [...(inputs ?? [])];
    while (given.length < wanted.length && given.length >= wanted.length - weights) given.push(null);
    this.#module.call("metrics_reset", this.#state);
    const arrays = { wanted, optional: weights, outputs, checks: this.#step.checks };
    const [results] = this.#module.run("train", "train_workspace_size", arrays, n, given, [this.#state]);
    return valuesOf(report, results);
  }

  // As of Model, with what was trained.
  predict(n, inputs) {
    return this.#module.predict("state_run", n, inputs, [this.#state], this.#draws());
  }

  // A copy of all that training changes: typed arrays by name.
  state() {
    return Object.fromEntries(this.#step.state.map((spec) => [spec.name, this.#tensor(spec).slice()]));
  }

  // Go on with these values, of some or all of `state`.
  restore(values) {
    const specs = new Map(this.#step.state.map((spec) => [spec.name, spec]));
    for (const [name, array] of Object.entries(values)) {
      const spec = specs.get(name);
      if (!spec) throw new TypeError(`${name}: no tensor of the state (${[...specs.keys()].join(", ")})`);
      if (!fits(spec, 1, array)) throw new TypeError(expected(spec, 1));
    }
    for (const [name, array] of Object.entries(values)) this.#tensor(specs.get(name)).set(array);
    this.#module.call("state_changed", this.#state);
  }

  // Trains on the sample in the file, apart from this state, and gives the error of the losses. Throws as of Model.
  selftest() {
    return this.#module.selftest("train_");
  }

  #tensor(spec) {
    return this.#module.view(ARRAYS[spec.dtype], this.#state + spec.offset, elements(spec, 1));
  }
}

// The module's functions, and its memory: above __heap_base it is the caller's. What is kept lies first; behind
// it are the arrays of one call, of which nothing stays.
class Functions {
  #exports;
  #metadata;
  #free;

  constructor(exports, metadata) {
    this.#exports = exports;
    this.#metadata = metadata;
    this.#free = aligned(exports.__heap_base.value);
  }

  call(name, ...args) {
    return this.#exports[`kc_${this.#metadata.name}_${name}`](...args);
  }

  // Memory that stays.
  keep(size) {
    const start = this.#free;
    this.#free = aligned(start + size);
    this.#grow(this.#free);
    return start;
  }

  view(kind, start, length) {
    return new kind(this.#exports.memory.buffer, start, length);
  }

  #grow(end) {
    const { memory } = this.#exports;
    if (end > memory.buffer.byteLength) memory.grow(Math.ceil((end - memory.buffer.byteLength) / PAGE));
  }

  predict(name, n, inputs, state, draws) {
    const { inputs: wanted, outputs, checks } = this.#metadata;
    const size = name === "run" ? "workspace_size" : "state_workspace_size";
    return this.run(name, size, { wanted, optional: 0, outputs, checks }, n, inputs, state, draws);
  }

  // A function of arrays: copies them in, and gives new ones. optional: how many of the last inputs may be null.
  run(name, sizeName, { wanted, optional, outputs, checks }, n, inputs, state, draws = []) {
    if (inputs?.length !== wanted.length) throw new TypeError(`expected ${wanted.length} input(s) in an array`);
    wanted.forEach((spec, i) => {
      const absent = inputs[i] === null && i >= wanted.length - optional;
      if (!absent && !fits(spec, n, inputs[i])) throw new TypeError(expected(spec, n));
    });
    const need = Number.isInteger(n) ? Number(this.call(sizeName, BigInt(n), 1)) : 0;
    if (need === 0) throw new RangeError(`a batch of ${n} is not accepted`);

    let end = this.#free;
    const room = (size) => {
      const start = end;
      end = aligned(start + size);
      return start;
    };
    const sources = wanted.map((spec, i) => (inputs[i] === null ? 0 : room(bytesOf(spec, n))));
    const targets = outputs.map((spec) => room(bytesOf(spec, n)));
    const [from, to] = [room(4 * sources.length), room(4 * targets.length)]; // tables of pointers
    const workspace = room(need);
    this.#grow(end);

    this.view(Uint32Array, from, sources.length).set(sources);
    this.view(Uint32Array, to, targets.length).set(targets);
    inputs.forEach((array, i) => array && this.view(array.constructor, sources[i], array.length).set(array));
    // int64_t is a BigInt; the argument after it is the pool of threads: none.
    const status = this.call(name, BigInt(n), from, to, ...state, workspace, BigInt(need), 0, ...draws);
    if (status === BAD_INDEX) {
      const [check, , number, rows] = this.view(BigInt64Array, workspace, 5);
      const label = checks?.[Number(check)] ?? "an input";
      throw new RangeError(`${label}: expected numbers from 0 to ${rows - 1n}. Received: ${number}`);
    }
    if (status !== 0) throw new Error(`the model returned status ${status}`);
    return outputs.map((spec, i) => this.view(ARRAYS[spec.dtype], targets[i], elements(spec, n)).slice());
  }

  selftest(of) {
    const size = Number(this.call(`${of}selftest_size`));
    const at = this.#free;
    this.#grow(at + 64 + size);
    const status = this.call(`${of}selftest`, at + 64, BigInt(size), at);
    const [error] = this.view(Float64Array, at, 1);
    if (status !== 0) throw new Error(`the self-test failed: status ${status}, error ${error}`);
    return error;
  }
}

function aligned(address) {
  return Math.ceil(address / 64) * 64;
}

function fits(spec, n, array) {
  return array instanceof ARRAYS[spec.dtype] && array.length === elements(spec, n);
}

function expected(spec, n) {
  return `${spec.name}: expected ${elements(spec, n)} numbers in a ${ARRAYS[spec.dtype].name}`;
}

// Loss and metrics by name: the loss, then of each metric a total and a count, or what its own state gives.
function valuesOf({ names, kept }, results) {
  let place = 0;
  const take = (name) => {
    if (name === names[0]) return results[place++];
    if (!(name in kept)) {
      const [total, count] = [results[place++], results[place++]];
      return count ? total / count : 0;
    }
    const size = kept[name].reduce((a, b) => a * b, 1);
    const part = results.slice(place, (place += size));
    return kept[name].length ? part : part[0];
  };
  return Object.fromEntries(names.map((name) => [name, take(name)]));
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
