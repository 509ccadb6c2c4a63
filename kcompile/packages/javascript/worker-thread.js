import { load } from "./index.js";
import { serve } from "./remote.js";

serve(self, load);
