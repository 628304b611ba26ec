-- SPDX-License-Identifier: MIT
-- Starts spec/support/fault_server.lua for a spec. Works inside the program only.

local task = require("host.task")

local fault = {}

-- Runs `command` until its standard input ends. Returns its output up to a match of `pattern`, and
-- a function that ends it.
local function run(command, pattern)
  local said = os.tmpname()
  local pipe = assert(io.popen(("%s >%s 2>&1"):format(command, said), "w"))
  local found
  for _ = 1, 6000 do
    local file = assert(io.open(said))
    found = file:read("a"):match(pattern)
    file:close()
    if found then break end
    task.sleep(0.01)
  end
  os.remove(said)
  assert(found, command .. " did not start")
  return found, function() pipe:close() end
end

--- Starts a server and returns it: `url` ("http://127.0.0.1:PORT") and stop().
function fault.start()
  local port, stop = run("exec lua5.4 spec/support/fault_server.lua", "port (%d+)\n")
  return { url = "http://127.0.0.1:" .. port, stop = stop }
end

--- The same with TLS and a self-signed certificate; every path has status 200.
function fault.start_tls()
  local pem = os.tmpname()
  assert(os.execute("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1"
    .. (" -addext subjectAltName=IP:127.0.0.1 -keyout %s -out %s.crt 2>&1 >/dev/null"):format(
      pem, pem) .. " | grep -v '^[.+*-]*$' >&2; test -s " .. pem .. ".crt"))
  -- s_server does not end with its standard input, but cat does
  local port, stop = run(([[sh -c 'openssl s_server -www -accept 127.0.0.1:0 -key %s -cert %s.crt \
    </dev/null & trap "kill $!" EXIT; cat >/dev/null']]):format(pem, pem), "ACCEPT [%d.]+:(%d+)")
  os.remove(pem)
  os.remove(pem .. ".crt")
  return { url = "https://127.0.0.1:" .. port .. "/", stop = stop }
end

return fault
