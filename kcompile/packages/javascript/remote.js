// A model in a worker: messages there and back. Ports of browsers and those of Node differ in how one listens.

const listen = (port, hear, fail) => {
  if (port.on) {
    port.on("message", hear);
    if (fail) port.on("error", fail);
  } else {
    port.addEventListener("message", (event) => hear(event.data));
    if (fail) port.addEventListener("error", (event) => fail(event.error ?? new Error(event.message)));
  }
};
const plain = ({ name, message }) => ({ name, message });
const KINDS = { Error, RangeError, TypeError };

// In the worker: answers what `connect` asks.
export function serve(port, load) {
  let model;
  const trainers = [];
  const buffers = (result) => (Array.isArray(result) ? result.map((array) => array.buffer) : []);
  listen(port, async ({ id, task, args }) => {
    try {
      if (task === "load") {
        model = await load(...args);
        port.postMessage({ id, result: model.metadata });
      } else if (task === "trainer") {
        port.postMessage({ id, result: trainers.push(model.trainer()) - 1 });
      } else if (task === "of trainer") {
        const [number, method, ...rest] = args;
        const result = trainers[number][method](...rest);
        port.postMessage({ id, result }, buffers(result));
      } else {
        const result = model[task](...args);
        port.postMessage({ id, result }, buffers(result));
      }
    } catch (error) {
      port.postMessage({ id, error: plain(error) });
    }
  });
}

// Outside: a model whose methods give promises. The inputs are copied, the results moved.
export async function connect(worker, options) {
  const waiting = new Map();
  let next = 0;
  let ended;
  const end = (error) => {
    ended = error;
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
  };
  listen(
    worker,
    ({ id, result, error }) => {
      const { resolve, reject } = waiting.get(id) ?? {};
      waiting.delete(id);
      if (error) reject?.(new (KINDS[error.name] ?? Error)(error.message));
      else resolve?.(result);
    },
    end,
  );
  const ask = (task, ...args) =>
    new Promise((resolve, reject) => {
      if (ended) return reject(ended);
      const id = next++;
      waiting.set(id, { resolve, reject });
      try {
        worker.postMessage({ id, task, args });
      } catch (error) {
        waiting.delete(id);
        reject(error);
      }
    });
  const close = () => {
    end(new Error("the worker was closed"));
    worker.terminate();
  };
  try {
    const metadata = await ask("load", options);
    const trainer = async () => {
      const number = await ask("trainer");
      const methods = ["train", "predict", "state", "restore", "reset", "selftest"];
      return Object.fromEntries(methods.map((name) => [name, (...args) => ask("of trainer", number, name, ...args)]));
    };
    const predict = (n, inputs) => ask("predict", n, inputs);
    return { metadata, predict, trainer, selftest: () => ask("selftest"), close };
  } catch (error) {
    close();
    throw error;
  }
}
