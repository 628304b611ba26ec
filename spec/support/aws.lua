-- SPDX-License-Identifier: MIT
-- Servers that stand in for AWS in specs: the strict signature checker, and moto. Both are Python.
-- Debian has no package of moto; specs that need it are skipped where it cannot be imported.

local e2e = require("spec.support.e2e")
local http = require("fleet.http")
local json = require("fleet.json")

local aws = {}

local interpreters = {}

--- Returns the first Python that has the module, or nil.
---@param module string
---@return string|nil
function aws.python_with(module)
  if interpreters[module] == nil then
    interpreters[module] = false
    for _, name in ipairs({ "python3", "/usr/bin/python3" }) do
      if os.execute(("%s -c 'import %s' >/dev/null 2>&1"):format(name, module)) then
        interpreters[module] = name
        break
      end
    end
  end
  return interpreters[module] or nil
end

local function start(world, words, options)
  local server = world:start(words, options)
  server.port = e2e.wait_until(words[2], function()
    if not server:alive() then error("it does not start: " .. server:err()) end
    local said = server:out() .. server:err()
    return math.tointeger(tonumber(said:match("port (%d+)\n") or said:match("127.0.0.1:(%d+)\n")))
  end)
  server.url = "http://127.0.0.1:" .. server.port .. "/"
  return server
end

--- Starts spec/support/sigv4_verify.py. Its clock is `skew` seconds behind this machine's.
---@param world e2e.World
---@param credentials {key: string, secret: string, token?: string}
---@param skew? number
---@return {url: string, port: integer}
function aws.verifier(world, credentials, skew)
  local python = aws.python_with("botocore") or error("no Python with botocore; see .ci/packages")
  return start(world, {
    python, "spec/support/sigv4_verify.py", credentials.key,
    credentials.secret, credentials.token,
  }, { pipe = true, env = { "SKEW=" .. (skew or 0) } })
end

--- Starts spec/support/fake_auto_scaling.py, or skips the spec where there is no botocore.
---@param world e2e.World
---@param credentials {key: string, secret: string, token: string}
---@param group string
---@param hook string
---@param pending fun(why: string)
---@return {url: string, err: fun(): string}
function aws.auto_scaling(world, credentials, group, hook, pending)
  local python = aws.python_with("botocore") or pending("no Python that has botocore")
  return start(world, {
    python, "spec/support/fake_auto_scaling.py", credentials.key, credentials.secret,
    credentials.token, group, hook,
  }, { pipe = true })
end

--- Starts spec/support/fake_imds.lua.
---@param world e2e.World
---@return {url: string, counts: fun(): table<string, integer>, advance: fun(seconds: integer),
---  notice: fun(), set: fun(path: string, value: string|nil)} the URL has no / at its end;
---  `advance` moves its clock, `notice` starts the Spot notice of /calm, `set` changes what a path
---  below /latest/meta-data has
function aws.imds(world)
  local server = start(world, { "lua5.4", "spec/support/fake_imds.lua" }, { pipe = true })
  local url = server.url:gsub("/$", "")
  return {
    url = url,
    counts = function()
      local counts = {}
      for n, key in assert(http.get(url .. "/counts")).body:gmatch("(%d+) (%u+ %S+)\n") do
        counts[key] = math.tointeger(tonumber(n))
      end
      return counts
    end,
    set = function(path, value)
      local word = (value or "-"):gsub("[^%w-]", function(c) return ("%%%02X"):format(c:byte()) end)
      assert(http.get(url .. "/set/meta-data/" .. path .. "/" .. word))
    end,
    notice = function() assert(http.get(url .. "/notice")) end,
    advance = function(seconds) assert(http.get(url .. "/advance/" .. seconds)) end,
  }
end

--- @class spec.Moto what spec/support/moto_server.py prints, and `url`
--- @field url string
--- @field role string its ARN; may ec2:DescribeInstances, and ssm:GetParameter of
---   /moonfleet/search/node
--- @field session {key: string, secret: string, token: string} the role's credentials
--- @field user {key: string, secret: string} may assume the role
--- @field admin {key: string, secret: string} may do everything with parameters

--- Starts moto, which checks signatures and permissions.
---@param world e2e.World
---@param pending fun(why: string) busted's inside of a spec, which ends when there is no moto
---@return spec.Moto
function aws.moto(world, pending)
  local python = aws.python_with("moto.server") or pending("no Python that has moto.server")
  local server = world:start({ python, "spec/support/moto_server.py" }, { pipe = true })
  local line = e2e.wait_until("moto", function()
    if not server:alive() then error("moto does not start: " .. server:err()) end
    return server:out():match("^({.*)\n")
  end, 120)
  local moto = assert(json.decode(line))
  moto.url = ("http://127.0.0.1:%d/"):format(moto.port)
  return moto
end

--- Whether moto checks signatures and permissions.
---@param moto spec.Moto
---@param on boolean
function aws.moto_auth(moto, on)
  local answer = assert(http.post(moto.url .. "moto-api/reset-auth", on and "0" or "inf",
    { headers = { ["content-type"] = "text/plain" } }))
  assert(answer.status == 200, answer.body)
end

return aws
