-- SPDX-License-Identifier: MIT
-- credential_process: a program of the user's that prints credentials. Its command line is
-- split as a shell would split it, and no shell is asked: no variables, no wildcards, no pipes.

local errors = require("fleet.errors")
local json = require("fleet.json")
local program = require("host.program")
local secret = require("fleet.aws.secret")
local task = require("host.task")
local time = require("fleet.aws.time")

local process = {}

--- Seconds that the program may take.
process.TIMEOUT = 60
local MAX_OUTPUT = 64 * 1024
-- Between looks whether a program that closed its output has ended.
local POLL = 0.01

local function fail(message, ...)
  return nil, errors.new({ kind = "credentials", message = message:format(...) })
end

-- Reads one word from `at`: its text and where it ends; nil for a quote that is not closed.
local function word_at(line, at)
  local parts = {}
  while at <= #line and not line:find("^%s", at) do
    local c = line:sub(at, at)
    if c == "'" then
      local stop = line:find("'", at + 1, true)
      if not stop then return nil end
      parts[#parts + 1] = line:sub(at + 1, stop - 1)
      at = stop + 1
    elseif c == '"' then
      at = at + 1
      while line:sub(at, at) ~= '"' do
        if at > #line then return nil end
        local escaped = line:match('^\\([\\"])', at)
        parts[#parts + 1] = escaped or line:sub(at, at)
        at = at + (escaped and 2 or 1)
      end
      at = at + 1
    elseif c == "\\" then
      if at == #line then return nil end
      parts[#parts + 1] = line:sub(at + 1, at + 1)
      at = at + 2
    else
      local plain = line:match("^[^%s'\"\\]+", at)
      parts[#parts + 1] = plain
      at = at + #plain
    end
  end
  return table.concat(parts), at
end

--- The words of a command line, as sh splits it without expanding anything; nil when a quote is
--- not closed or there is no word.
---@param line string
---@return string[]|nil
function process.words(line)
  local words, at = {}, line:find("%S")
  while at do
    local word, stop = word_at(line, at)
    if not word then return nil end
    words[#words + 1] = word
    at = line:find("%S", stop)
  end
  return words[1] and words or nil
end

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
---@param words string[]
---@param seconds number
---@return string|nil
---@return fleet.Error|nil
function process.run(words, seconds)
  local p, err = program.start(words)
  if not p then return fail("%s", err.message) end
  local over, in_time = task.signal(), true
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
  if not in_time then return fail("'%s' took longer than %g s", words[1], seconds) end
  if not output then return fail("'%s' printed more than %d bytes", words[1], MAX_OUTPUT) end
  if signal then return fail("'%s' was ended by signal %d", words[1], signal) end
  if code ~= 0 then return fail("'%s' ended with exit code %d", words[1], code) end
  return output
end

--- The credentials that a credential_process prints. Waits.
---@param tools fleet.aws.Tools
---@param line string the command line
---@param source string for people
---@return fleet.aws.Credentials|nil
---@return fleet.Error|nil
function process.credentials(tools, line, source)
  local words = process.words(line)
  if not words then return fail("%s: a quote in credential_process is not closed", source) end
  local output, err = tools.run(words, process.TIMEOUT)
  if not output then return fail("%s: credential_process %s", source, err.message) end
  local said = json.decode(output)
  if type(said) ~= "table" then
    return fail("%s: credential_process '%s' did not print a JSON object", source, words[1])
  end
  if said.Version ~= 1 then
    return fail("%s: credential_process '%s' did not print Version 1", source, words[1])
  end
  local expires = said.Expiration ~= nil and time.iso(said.Expiration) or nil
  if said.Expiration ~= nil and not expires then
    return fail("%s: credential_process '%s' printed no valid Expiration", source, words[1])
  end
  return secret.new({
    key = said.AccessKeyId, secret = said.SecretAccessKey, token = said.SessionToken,
    expires = expires, source = source .. ", credential_process",
  })
end

return process
