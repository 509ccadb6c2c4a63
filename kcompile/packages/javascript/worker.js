// In browsers: the model in a worker, so that the page stays responsive.
import { connect } from "./remote.js";

export function load(options = {}) {
  return connect(new Worker(new URL("./worker-thread.js", import.meta.url), { type: "module" }), options);
}
