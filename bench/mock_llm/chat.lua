-- wrk's requests: a question of about 1 kB with one tool declared. STREAM=1 asks for a stream, VENDOR=anthropic for the other form.
local stream = os.getenv("STREAM") == "1" and "true" or "false"
local anthropic = os.getenv("VENDOR") == "anthropic"
local filler = string.rep("Find the cause and say where it stands. ", 12)

wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["X-Troupe-Agent"] = "bench"
if anthropic then
  wrk.path = "/v1/messages"
  wrk.headers["anthropic-version"] = "2023-06-01"
  wrk.body = '{"model":"claude","max_tokens":1000,"stream":' .. stream .. ',"system":"You are careful.","tools":[{"name":"grep","description":"Lines of a file",' ..
    '"input_schema":{"type":"object","properties":{"pattern":{"type":"string"}}}}],"messages":[{"role":"user","content":"' .. filler .. '"}]}'
else
  wrk.path = "/v1/chat/completions"
  wrk.body = '{"model":"gpt-4o","max_tokens":1000,"stream":' .. stream .. ',"tools":[{"type":"function","function":{"name":"grep","description":"Lines of a file",' ..
    '"parameters":{"type":"object","properties":{"pattern":{"type":"string"}}}}}],"messages":[{"role":"system","content":"You are careful."},' ..
    '{"role":"user","content":"' .. filler .. '"}]}'
end
