-- A request of the Open Inference Protocol, again and again, for wrk (docs/howto/serving.md).
--
--   wrk -t1 -c32 -d5s -s benchmarks/serving.lua http://127.0.0.1:8000/v2/models/NAME/infer -- INPUT WIDTH [binary]
--
-- INPUT: the name of the model's input, FP32 of WIDTH numbers a sample. One sample a request.

function init(args)
   local input, width, binary = args[1], tonumber(args[2]), args[3] == "binary"
   local tensor = '"name":"' .. input .. '","shape":[1,' .. width .. '],"datatype":"FP32"'
   wrk.method = "POST"
   if binary then
      local head = '{"inputs":[{' .. tensor .. ',"parameters":{"binary_data_size":' .. 4 * width
         .. '}}],"parameters":{"binary_data_output":true}}'
      wrk.headers["Inference-Header-Content-Length"] = tostring(#head)
      wrk.headers["Content-Type"] = "application/octet-stream"
      wrk.body = head .. string.rep("\0\0\0\63", width) -- 0.5
   else
      wrk.headers["Content-Type"] = "application/json"
      wrk.body = '{"inputs":[{' .. tensor .. ',"data":[' .. string.rep("0.5", width, ",") .. "]}]}"
   end
end

function done(summary, latency, requests)
   local errors = summary.errors
   print(string.format("%.0f requests/s, p50 %.2f ms, p99 %.2f ms, %d errors", summary.requests / summary.duration * 1e6,
      latency:percentile(50) / 1000, latency:percentile(99) / 1000,
      errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
