-- SPDX-License-Identifier: MIT
-- What the rehearsal's scenario works with: AWS (spec/rehearsal/cloud.py) and its callers,
-- commands in instances, a web server that counts what is fetched, and drivers.
--
--   local rehearsal = fleet.new()
--   rehearsal:start()
--   rehearsal:deploy(who, { "--release", "r1", ... }):wait()

local e2e = require("spec.support.e2e")
local http = require("fleet.http")
local json = require("fleet.json")
local task = require("host.task")

local fleet = {}

fleet.NAME = "search"
local HERE = "127.80.0.1" -- this machine, to the instances
local WEB_PORT = 8080
local AWS = os.getenv("REHEARSAL_AWS")
local REGION = os.getenv("AWS_REGION")
-- Seconds that end only what would never end.
local LIMIT = 240

local NGINX = [[
daemon off;
master_process off;
pid DIR/nginx.pid;
worker_rlimit_nofile 8192;
events { worker_connections 4096; }
http {
  log_format fetched '$remote_addr $uri';
  access_log DIR/fetched fetched;
  root DIR/www;
  keepalive_requests 100000;
  client_body_temp_path DIR/b; proxy_temp_path DIR/p; fastcgi_temp_path DIR/f;
  uwsgi_temp_path DIR/u; scgi_temp_path DIR/s;
  server { listen HERE:PORT; location /count/ { return 200; } }
}
]]

--- @class rehearsal.Fleet
--- @field world e2e.World
--- @field subnet string
--- @field url string of the web server, which serves the folder `www` of the world
local Fleet = {}
Fleet.__index = Fleet

--- @class rehearsal.Caller
--- @field key string
--- @field secret string
--- @field token string|nil

-- The environment of a command that a caller runs.
local function environment(who, ...)
  return {
    "AWS_ACCESS_KEY_ID=" .. who.key, "AWS_SECRET_ACCESS_KEY=" .. who.secret,
    "AWS_REGION=" .. REGION, "AWS_DEFAULT_REGION=" .. REGION, "AWS_ENDPOINT_URL=" .. AWS,
    "AWS_EC2_METADATA_DISABLED=true", ...,
  }
end

-- Starts what says "ready", or listens; its log is printed when the rehearsal fails.
local function server(self, words, is_ready, options)
  local process = self.world:start(words, options)
  e2e.wait_until(words[1], function()
    if not process:alive() then error(("%s does not start: %s"):format(words[1], process:err())) end
    return is_ready(process)
  end)
  return process
end

---@return rehearsal.Fleet
function fleet.new() return setmetatable({ world = e2e.new(), forgiven = 0 }, Fleet) end

--- Starts AWS, with a VPC and a subnet, and the web server.
function Fleet:start()
  local world = self.world
  self.cloud = server(self, {
    os.getenv("REHEARSAL_PYTHON"), "spec/rehearsal/cloud.py", HERE, AWS:match("%d+$"),
    os.getenv("REHEARSAL") .. "/base",
  }, function(process) return process:out():find("ready\n", 1, true) end, {
    env = { "AWS_REGION=" .. REGION },
  })
  assert(os.execute(("mkdir '%s/www'"):format(world.dir)))
  local config = NGINX:gsub("DIR", world.dir):gsub("HERE", HERE):gsub("PORT", WEB_PORT)
  self.url = ("http://%s:%d"):format(HERE, WEB_PORT)
  config = world:write("nginx.conf", config)
  server(self, { "nginx", "-p", world.dir, "-e", "stderr", "-c", config },
    function() return http.get(self.url .. "/count/0") end)
  self.subnet = self:ask("subnet")
end

function Fleet:close() self.world:close() end

-- ---- AWS ----

--- Makes calls, and returns for each "allowed", or the code of the error.
---@param calls {who: rehearsal.Caller, service: string, operation: string, parameters: table}[]
---@return string[]
function Fleet:call_aws(calls)
  local list = {}
  for i, call in ipairs(calls) do
    list[i] = { key = call.who.key, secret = call.who.secret, token = call.who.token,
      service = call.service, operation = call.operation, parameters = call.parameters }
  end
  local run = self.world:start({ os.getenv("REHEARSAL_PYTHON"), "spec/rehearsal/calls.py" }, {
    stdin = self.world:write("calls.json", json.encode(list)),
    env = { "AWS_REGION=" .. REGION, "AWS_ENDPOINT_URL=" .. AWS },
  }):wait(LIMIT)
  return json.decode(run.out) or error(run.err, 2)
end

local function post(path, body)
  local response = assert(http.post(("%s/rehearsal/%s"):format(AWS, path), body))
  assert(response.status == 200, response.body)
  return assert(json.decode(response.body))
end

--- Makes a user with a policy.
---@param name string
---@param policy string JSON
---@return rehearsal.Caller
function Fleet:user(name, policy) return post("user/" .. name, policy) end

--- Makes a parameter in SSM.
function Fleet:parameter(name) post("parameter", name) end

--- Asks the stand-in of AWS: "subnet", "machines", "events", "calls", "left".
function Fleet:ask(what)
  return assert(json.decode(assert(http.get(("%s/rehearsal/%s"):format(AWS, what))).body))
end

--- Returns the machines that are up, of the fleet.
---@return {id: string, address: string, state: string, tags: table<string, string>}[]
function Fleet:nodes()
  local list = {}
  for _, machine in ipairs(self:ask("machines")) do
    if machine.state == "up" and machine.group then list[#list + 1] = machine end
  end
  return list
end

--- Announces the end of an instance to it, and ends it `seconds` later.
function Fleet:interrupt(id, seconds)
  post(("spot/%s/%d"):format(id, seconds), "")
end

--- Returns the events of an instance, or of all, as lines of text.
---@param id? string
function Fleet:events(id)
  local lines = {}
  for _, e in ipairs(self:ask("events")) do
    if not id or e.id == id then
      lines[#lines + 1] = ("%7.2f %s %s"):format(e.after, e.id, e.event)
    end
  end
  return table.concat(lines, "\n")
end

--- Returns the calls that were refused since `forgive`, one on a line.
---@return string
function Fleet:refused()
  local lines = {}
  for i, call in ipairs(self:ask("calls")) do
    if not call.allowed and i > self.forgiven then
      lines[#lines + 1] = ("%s to %s on %s"):format(call.action, call.who,
        table.concat(call.resources, ", "))
    end
  end
  return table.concat(lines, "\n")
end

--- Leaves out of `refused` what was refused until now.
function Fleet:forgive() self.forgiven = #self:ask("calls") end

--- Returns the sets of actions that were called by the roles of nodes, and by the users.
---@return {node: table<string, true>, driver: table<string, true>, deployer: table<string, true>}
function Fleet:calls()
  local made = { node = {}, driver = {}, deployer = {} }
  for _, call in ipairs(self:ask("calls")) do
    local role = call.who:find(":assumed-role/", 1, true) and "node"
    local set = made[role or call.who:match(":user/(.+)$")]
    if set then set[call.action] = true end
  end
  return made
end

--- Returns all that helps to see why a step has failed.
---@return string
function Fleet:story()
  local logs = {}
  for _, node in ipairs(self:nodes()) do
    local run = self:inside(node.id, "journalctl", "-u", "moonfleet", "-n", "20", "--no-pager")
    logs[#logs + 1] = run.out .. run.err
  end
  return ("%s\nevents:\n%s\nrefused:\n%s\nthe stand-in of AWS:\n%s"):format(
    table.concat(logs, "\n"), self:events(), self:refused(),
    self.cloud:err())
end

--- Waits until an instance has had an event; returns all events of it.
---@param id string
---@param event string
---@return string
function Fleet:await_event(id, event)
  return e2e.wait_until(("%s of %s"):format(event, id), function()
    local events = self:events(id)
    if events:find(event .. "\n", 1, true) or events:sub(-#event) == event then return events end
    task.sleep(0.2)
  end, 90)
end

-- ---- machines ----

--- Runs a command in an instance, as root.
---@return {code: integer|nil, out: string, err: string}
function Fleet:inside(id, ...)
  return self.world:start({ "spec/rehearsal/machine", "run", id, ... }):wait(LIMIT)
end

--- The same, and raises what it says if it fails. Returns its output.
function Fleet:must(id, ...)
  local run = self:inside(id, ...)
  if run.code ~= 0 then
    error(("%s: %s ended with %s: %s%s"):format(id, (...), tostring(run.code), run.out, run.err), 2)
  end
  return run.out
end

--- Copies a file of this machine into an instance.
---@param file string
---@param id string
---@param path string
function Fleet:copy(file, id, path)
  local root = ("%s/machines/%s/root"):format(os.getenv("REHEARSAL"), id)
  local run = self.world:start({ "cp", file, root .. path }):wait()
  assert(run.code == 0, run.err)
end

--- Returns the role of an instance, as its programs get it.
---@return rehearsal.Caller
function Fleet:role_of(id)
  local text = self:must(id, "sh", "-ec", [[
    base=http://169.254.169.254/latest
    token=$(curl -sS -f -X PUT -H "X-aws-ec2-metadata-token-ttl-seconds: 60" $base/api/token)
    role=$base/meta-data/iam/security-credentials/
    get() { curl -sS -f -H "X-aws-ec2-metadata-token: $token" "$1"; }
    get "$role$(get "$role")"]])
  local role = assert(json.decode(text))
  return { key = role.AccessKeyId, secret = role.SecretAccessKey, token = role.Token }
end

-- ---- commands ----

--- Starts to build a release of the package. Returns what has path(), which waits until that is
--- done.
---@param release integer
---@return {path: fun(): string}
function Fleet:package(release)
  local file = self.world:path(("moonfleet-%d.rpm"):format(release))
  local script = 'scripts/rpm.sh && cp build/rpm/RPMS/*/moonfleet-[0-9]*.rpm "$1"'
  local process = self.world:start({ "sh", "-ec", script, "sh", file },
    { env = { "RPM_RELEASE=" .. release } })
  return {
    path = function()
      local run = process:wait(LIMIT)
      assert(run.code == 0, run.err)
      return file
    end,
  }
end

--- Starts packer/deploy.
---@param who rehearsal.Caller
---@param words string[]
---@return e2e.Process
function Fleet:deploy(who, words)
  return self.world:start({ "packer/deploy", "--fleet", fleet.NAME, table.unpack(words) }, {
    env = environment(who, "CHECKPOINT_DISABLE=1", "HOME=" .. os.getenv("HOME"),
      "MOONFLEET=" .. e2e.program),
  })
end

--- Waits until a process has said something.
---@param process e2e.Process
---@param text string
function Fleet:await_output(process, text)
  e2e.wait_until(text, function()
    local said = process:out()
    if said:find(text, 1, true) then return true end
    if not process:alive() then error(said .. process:err(), 0) end
    task.sleep(0.2)
  end, LIMIT)
end

--- Starts a command of moonfleet, its name and its arguments, as a driver of the fleet.
---@param who rehearsal.Caller
---@param words string[]
---@param release string
---@return e2e.Process
function Fleet:driver(who, words, release)
  return self.world:program({
    words[1], "--discover", "ec2", "--release", release, "--fleet", fleet.NAME, "--tls", "ssm:",
    "--poll-interval", "2", table.unpack(words, 2),
  }, { env = environment(who, "MOONFLEET_CACHE=") })
end

--- Waits until `count` nodes of a release are ready; returns their rows of `moonfleet nodes`.
function Fleet:await_nodes(who, release, count)
  local rows
  local ok = pcall(e2e.wait_until, "nodes", function()
    local run = self:driver(who, { "nodes", "--json" }, release):wait(LIMIT)
    rows = json.decode(run.out) or run.err
    local ready = 0
    for _, row in ipairs(type(rows) == "table" and rows or {}) do
      if row.state == "ready" then ready = ready + 1 end
    end
    if ready == count then return true end
    task.sleep(0.5)
  end, 60)
  if ok then return rows end
  error(("there are not %d nodes of %s: %s\n%s"):format(count, release, tostring(json.encode(rows)),
    self:events()), 2)
end

-- ---- a map that is watched ----

local JOB = [[
local fleet, http = require("fleet"), require("fleet.http")
return {
  map = function(line)
    local page, err = http.get("URL/count/NAME." .. line)
    if not page then return nil, err end
    fleet.sleep(SECONDS)
    return line * 2
  end,
}
]]

--- @class rehearsal.Map
--- @field process e2e.Process
--- @field count integer

--- Starts a map in which each item says to the web server that it begins, then takes `seconds`.
--- Nothing may run twice: --retries 0.
---@param who rehearsal.Caller
---@param name string
---@param options {count: integer, seconds: number, release: string}
---@return rehearsal.Map
function Fleet:map(who, name, options)
  local words = { URL = self.url, NAME = name, SECONDS = options.seconds }
  local job = self.world:write(name .. ".lua", (JOB:gsub("%f[%u]%u+%f[%U]", words)))
  local items = {}
  for i = 1, options.count do items[i] = i end
  local process = self:driver(who, { "run", job, self.world:items(items), "--retries", "0" },
    options.release)
  return { process = process, count = options.count, name = name }
end

--- Waits until a map has so many results.
---@param map rehearsal.Map
function Fleet:await_results(map, count)
  e2e.wait_until(("%d results of %s"):format(count, map.name), function()
    if map.process:lines() >= count then return true end
    if not map.process:alive() then error("the driver has ended: " .. map.process:err(), 0) end
    task.sleep(0.1)
  end, LIMIT)
end

--- Waits for the end of a map and checks it: every item has its result, in the order of the input,
--- and the web server has seen each begin once. Returns what the driver said, and the number of
--- items of each address.
---@param map rehearsal.Map
---@return string err
---@return table<string, integer> shares
function Fleet:check_map(map)
  local run = map.process:wait(LIMIT)
  local wrong = {}
  local function is_wrong(format, ...) wrong[#wrong + 1] = format:format(...) end
  if run.code ~= 0 then is_wrong("exit code %s", tostring(run.code)) end
  local rows = e2e.results(run.out)
  if #rows ~= map.count then is_wrong("%d results of %d", #rows, map.count) end
  for i, row in ipairs(rows) do
    if row.error then
      is_wrong("item %s failed: %s: %s", row.item, row.error.kind, row.error.message)
    elseif row.item ~= tostring(i) or row.value ~= 2 * i then
      is_wrong("result %d is %s of item %s", i, tostring(row.value), row.item)
    end
  end
  local seen, shares = {}, {}
  local fetched = e2e.read(self.world:path("fetched"))
  for address, name, item in fetched:gmatch("(%S+) /count/(%S+)%.(%d+)\n") do
    if name == map.name then
      seen[item] = (seen[item] or 0) + 1
      shares[address] = (shares[address] or 0) + 1
    end
  end
  for i = 1, map.count do
    local times = seen[tostring(i)] or 0
    if times ~= 1 then is_wrong("item %d began %d times", i, times) end
  end
  if #wrong > 0 then
    error(("%s: %d things are wrong: %s\n%s\n%s"):format(map.name, #wrong,
      table.concat(wrong, "; ", 1, math.min(#wrong, 5)), run.err, self:events()), 2)
  end
  return run.err, shares
end

return fleet
