-- SPDX-License-Identifier: MIT
-- The credential_process of a profile: a program that prints credentials. It is run without a
-- shell.

local credentials = require("fleet.aws.credentials")
local errors = require("fleet.errors")
local json = require("fleet.json")
local process = require("host.process")
local shell = require("fleet.base.shell")
local subprocess = require("fleet.base.subprocess")
local task = require("host.task")

local credential_process = {}

--- The longest time that the program may run, in seconds.
credential_process.TIMEOUT = 60
local MAX_OUTPUT = 64 * 1024

local fail = errors.formatter("credentials")

--- Runs a program for at most `seconds` and returns what it printed. Waits.
---@param command string[] the program and its arguments
---@param seconds number
---@return string|nil
---@return fleet.Error|nil
function credential_process.run(command, seconds)
  local p, err = process.start(command)
  if not p then return nil, fail("%s", err.message) end
  local ended, in_time = task.event(), true
  task.spawn(function()
    in_time = ended:wait(seconds)
    if not in_time then p:kill() end
  end)
  local output = subprocess.read_all(p, MAX_OUTPUT)
  if not output then p:kill() end
  local code, signal = subprocess.wait(p)
  ended:notify()
  if not in_time then return nil, fail("'%s' took longer than %g s", command[1], seconds) end
  if not output then
    return nil, fail("'%s' printed more than %d bytes", command[1], MAX_OUTPUT)
  end
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
function credential_process.credentials(tools, line, source)
  local command, fault = shell.split(line)
  if not command or #command == 0 then
    return nil, fail("%s: credential_process %s", source, fault or "names no program")
  end
  local output, err = tools.run(command, credential_process.TIMEOUT)
  if not output then return nil, fail("%s: credential_process %s", source, err.message) end
  local reply = json.decode(output)
  local missing = type(reply) ~= "table" and "a JSON object" or reply.Version ~= 1 and "Version 1"
  if missing then
    return nil, fail("%s: credential_process '%s' did not print %s", source, command[1], missing)
  end
  return credentials.new({
    key = reply.AccessKeyId, secret = reply.SecretAccessKey, token = reply.SessionToken,
    expiration = reply.Expiration, source = source .. ", credential_process",
  })
end

return credential_process
