// In Node, whose `fetch` reads no files.
import { readFile } from "node:fs/promises";
import { create } from "./model.js";

export { Model, Trainer } from "./model.js";

// options.source: a path or URL of the module, or what `compile` of model.js takes; default: beside this file.
export async function load({ source, ...options } = {}) {
  const from = source ?? new URL("./model.wasm", import.meta.url);
  const remote = /^https?:/.test(String(from));
  const named = typeof from === "string" || from instanceof URL;
  return create(named ? (remote ? fetch(from) : readFile(from)) : from, options);
}
