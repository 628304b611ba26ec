-- SPDX-License-Identifier: MIT
-- Peers that stand for AWS in specs: the strict checker of signatures, and moto. Both are Python;
-- where Python or its libraries are missing a spec is skipped, unless this is a CI run.

local e2e = require("spec.support.e2e")

local aws = {}

local interpreters = {}

-- The first Python that has the module, or nil.
local function python_with(module)
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

--- Python with a module; ends the spec as skipped when there is none.
---@param module string
---@return string
function aws.need_python(module)
  local python = python_with(module)
  if not python and os.getenv("CI") and module ~= "moto" then
    error("no Python with " .. module .. " here; .ci/packages installs it")
  end
  -- busted ends the spec here
  return python or pending("no Python that has " .. module)
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
  return start(world, {
    aws.need_python("botocore"), "spec/support/sigv4_verify.py", credentials.key,
    credentials.secret, credentials.token,
  }, { pipe = true, env = { "SKEW=" .. (skew or 0) } })
end

return aws
