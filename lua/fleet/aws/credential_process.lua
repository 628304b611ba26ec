-- SPDX-License-Identifier: MIT
-- credential_process: a program of the user's that prints credentials. No shell is asked.

local errors = require("fleet.errors")
local json = require("fleet.json")
local program = require("host.program")
local secret = require("fleet.aws.credential")
local task = require("host.task")
local time = require("fleet.aws.time")
local words = require("fleet.aws.words")

local process = {}

--- Seconds that the program may take.
process.TIMEOUT = 60
local MAX_OUTPUT = 64 * 1024
-- Between looks whether a program that closed its output has ended.
local POLL = 0.01

local fail = errors.formatter("credentials")

-- Reads to the end: the output, or nil when it is too long.
local function read_all(p)
  local parts, size = {}, 0
  while true do
    local bytes = p:read()
    if not bytes then return table.concat(parts) end
    size = size + #bytes
    if size > MAX_OUTPUT then return nil end
    parts[#parts + 1] = bytes
  end
end

--- Runs a program and returns what it printed. Waits, `seconds` at most.
---@param command string[] its words
---@param seconds number
---@return string|nil
---@return fleet.Error|nil
function process.run(command, seconds)
  local p, err = program.start(command)
  if not p then return nil, fail("%s", err.message) end
  local over, in_time = task.event(), true
  task.spawn(function()
    in_time = over:wait(seconds)
    if not in_time then p:kill() end
  end)
  local output = read_all(p)
  if not output then p:kill() end
  local code, signal = p:ended()
  while not code and not signal do
    task.sleep(POLL)
    code, signal = p:ended()
  end
  over:notify()
  if not in_time then return nil, fail("'%s' took longer than %g s", command[1], seconds) end
  if not output then return nil, fail("'%s' printed more than %d bytes", command[1], MAX_OUTPUT) end
  if signal then return nil, fail("'%s' was ended by signal %d", command[1], signal) end
  if code ~= 0 then return nil, fail("'%s' ended with exit code %d", command[1], code) end
  return output
end

--- The credentials that a credential_process prints. Waits.
---@param tools fleet.aws.Tools
---@param line string the command line
---@param source string for people
---@return fleet.aws.Credentials|nil
---@return fleet.Error|nil
function process.credentials(tools, line, source)
  local command = words.split(line)
  if not command then
    return nil, fail("%s: a quote in credential_process is not closed", source)
  end
  local output, err = tools.run(command, process.TIMEOUT)
  if not output then return nil, fail("%s: credential_process %s", source, err.message) end
  local said = json.decode(output)
  if type(said) ~= "table" then
    return nil, fail("%s: credential_process '%s' did not print a JSON object", source, command[1])
  end
  if said.Version ~= 1 then
    return nil, fail("%s: credential_process '%s' did not print Version 1", source, command[1])
  end
  local expires = said.Expiration ~= nil and time.iso(said.Expiration) or nil
  if said.Expiration ~= nil and not expires then
    return nil, fail("%s: credential_process '%s' printed no valid Expiration", source, command[1])
  end
  return secret.new({
    key = said.AccessKeyId, secret = said.SecretAccessKey, token = said.SessionToken,
    expires = expires, source = source .. ", credential_process",
  })
end

return process
