// In Node: the model in a thread of its own. Call `close` at the end: Node waits for the thread.
import { Worker } from "node:worker_threads";
import { connect } from "./remote.js";

export function load(options = {}) {
  const file = new URL("./worker-node-thread.js", import.meta.url);
  return connect(new Worker(file, { execArgv: [] }), options); // Node's own options may be for its main script
}
