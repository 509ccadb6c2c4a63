// In browsers, and hosts with their `fetch`.
import { create } from "./model.js";

export { Model, Trainer } from "./model.js";

// options.source: where the module is, or what `compile` of model.js takes; default: beside this file.
export async function load({ source, ...options } = {}) {
  const from = source ?? new URL("./model.wasm", import.meta.url);
  return create(typeof from === "string" || from instanceof URL ? fetch(from) : from, options);
}
