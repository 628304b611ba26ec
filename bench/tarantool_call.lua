-- Measures sequential empty remote evals of Tarantool between two processes:
--   tarantool tarantool_call.lua serve PORT DIR   replies until it is killed
--   tarantool tarantool_call.lua call PORT COUNT  prints the microseconds of one call, and of
--                                                 one with an argument and a result
local mode, port = arg[1], arg[2]

if mode == "serve" then
  box.cfg({ listen = "127.0.0.1:" .. port, work_dir = arg[3], wal_mode = "none", log_level = 2 })
  box.schema.user.grant("guest", "execute", "universe", nil, { if_not_exists = true })
else
  local clock, count = require("clock"), tonumber(arg[3])
  local connection
  repeat -- the server opens its port before it grants us anything
    require("fiber").sleep(0.05)
    connection = require("net.box").connect("127.0.0.1:" .. port)
  until pcall(connection.eval, connection, "return")
  local function time(...)
    for _ = 1, 1000 do connection:eval(...) end
    local start = clock.monotonic()
    for _ = 1, count do connection:eval(...) end
    return (clock.monotonic() - start) / count * 1e6
  end
  print(("%.2f %.2f"):format(time("return"), time("return ... + 1", { 1 })))
  os.exit(0)
end
