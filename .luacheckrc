std = "lua54"
max_line_length = 100
files["spec"] = { std = "+busted" }
ignore = { "212/self", "212/_.*" }
