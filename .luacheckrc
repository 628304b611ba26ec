std = "lua54"
max_line_length = 100
files["spec"] = { std = "+busted" }
ignore = { "212/self", "212/_.*" }
files["docs/meta"] = { ignore = { "212", "241" } } -- functions without bodies
files["premake5.lua"] = { ignore = { "113", "143" } } -- premake's own vocabulary
files["bench/wrk_pages.lua"] = { globals = { "init", "request", "wrk" } }
files["bench/tarantool_call.lua"] = { globals = { "box" } }
