-- SPDX-License-Identifier: MIT
-- `moonfleet web`: serves the page until a signal.

local address_of = require("fleet.httpd.address")
local driver = require("fleet.driver")
local errors = require("fleet.errors")
local file = require("host.file")
local host_driver = require("host.driver")
local log = require("fleet.log")
local program = require("fleet.cli.program")
local sys = require("host.sys")
local task = require("host.task")

local DEFAULT_LISTEN = "127.0.0.1:8440"

local usage = errors.formatter("usage")

-- The folder of the runs: that of the service, or else below the user's home.
local function default_state(getenv)
  local service = getenv("STATE_DIRECTORY")
  if service and service ~= "" then return service:match("^[^:]+") .. "/runs" end
  local base = getenv("XDG_STATE_HOME")
  if not base or base == "" then
    local home = getenv("HOME")
    if not home or home == "" then return nil end
    base = home .. "/.local/state"
  end
  return base .. "/moonfleet/web"
end

-- The folders of the scripts: that beside the program's, where `make install` and packages put it.
local function default_scripts()
  local folder = (file.link("/proc/self/exe") or ""):match("^(.*)/[^/]+/[^/]+$")
  return { (folder or "/usr") .. "/share/moonfleet/scripts" }
end

local function make_folders(path)
  local parent = path:match("^(.+)/[^/]+/*$")
  if file.about(path) then return true end
  if parent then
    local ok, err = make_folders(parent)
    if not ok then return nil, err end
  end
  return file.make_folder(path)
end

---@param invocation fleet.cli.Invocation
---@return integer|nil exit code
---@return fleet.Error|nil
return function(invocation)
  local flags = invocation.flags
  local origin = (invocation.origins or {}).listen
  local name = origin and origin.name or "--listen" -- it may be the one of serve, from a file
  local host, port = address_of.read(name, flags.listen or DEFAULT_LISTEN, 8440)
  if not host then return nil, port end
  if not address_of.is_loopback(host) then
    return nil, usage("%s %s can be reached from other machines, and whoever opens the page "
      .. "can run code on the fleet: listen on 127.0.0.1, and reach it by ssh -L %d:127.0.0.1:%d, "
      .. "or by a proxy that asks who it is (--server-name)", name, flags.listen, port, port)
  end
  local state = flags.state or default_state(os.getenv)
  if not state then
    return nil, usage("there is no HOME to keep runs in; name a folder with --state")
  end
  local made, err = make_folders(state)
  if not made then return nil, err end
  local app, url = require("fleet.web").open({
    host = host, port = port, names = flags.server_name, state = state,
    scripts = flags.scripts or default_scripts(),
  })
  if not app then return nil, url end
  log.info("web page", { url = url, runs = state })
  sys.notify("READY=1\nSTATUS=" .. url)
  if sys.isatty(2) then program.note("%s shows the page; Ctrl-C ends it", url) end
  local serving = task.start(app.run, app)
  host_driver.wait_signal()
  sys.notify("STOPPING=1")
  local closing = task.start(function()
    app:close()
    serving:join()
    driver.close()
  end)
  task.spawn(function() -- a second signal does not wait
    os.exit(program.SIGNALLED[host_driver.wait_signal()])
  end)
  closing:join()
  return program.OK
end
