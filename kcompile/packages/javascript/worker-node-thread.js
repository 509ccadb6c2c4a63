import { parentPort } from "node:worker_threads";
import { load } from "./node.js";
import { serve } from "./remote.js";

serve(parentPort, load);
