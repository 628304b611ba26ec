-- SPDX-License-Identifier: MIT
-- Compiles typed code and packs its results so that they can be sent. The REPL and `moonfleet eval`
-- use it locally and, shipped, in workers.

local codec = require("host.codec")
local errors = require("fleet.errors")
local lexer = require("fleet.ship.lexer")
local pretty = require("fleet.base.pretty")
local set = require("fleet.base.text").set

local evaluate = {}

-- A string in quotes ends with its line, whatever follows.
local function is_incomplete(message)
  return message:find("<eof>$") ~= nil and not message:find("unfinished string near", 1, true)
end

--- Loads code that is an expression, whose values are the results, or statements. An expression may
--- follow "=", as in older Lua prompts. `prologue` is put before the code, on its first line.
---@param text string
---@param chunkname string as for load
---@param loader fun(text: string, chunkname: string): function|nil, string|nil
---@param prologue? string
---@return function|nil f
---@return string|nil message what is wrong with the code
---@return boolean|nil incomplete whether more lines could complete it
function evaluate.load(text, chunkname, loader, prologue)
  prologue = prologue or ""
  text = text:gsub("^(%s*)=([^=])", "%1return %2", 1)
  local f, as_expression = loader(prologue .. "return " .. text, chunkname)
  if f then return f end
  local message
  f, message = loader(prologue .. text, chunkname)
  if f then return f end
  if is_incomplete(message) then return nil, message, true end
  if is_incomplete(as_expression) then return nil, as_expression, true end -- "1 +"
  return nil, message, false
end

-- Modules that typed code may use without require.
evaluate.modules = {
  digest = "fleet.digest", fleet = "fleet", http = "fleet.http", json = "fleet.json",
  xml = "fleet.xml",
}

-- Tokens after which a statement may begin with a variable.
local BEFORE_STATEMENT = set([[name number string ) } ] end nil true false ... ; then do else
  repeat]])

-- Returns which of the modules a text reads, and which of them it assigns; names of fields and keys
-- of tables do not count.
local function module_names(text, tokens)
  local kinds, read, assigned = tokens.kinds, {}, {}
  lexer.walk(tokens, function(i, open)
    local name = kinds[i] == "name" and text:sub(tokens.starts[i], tokens.stops[i])
    local before, after = kinds[i - 1], kinds[i + 1]
    if not name or not evaluate.modules[name] or before == "." or before == ":" then return end
    if open == "{" and after == "=" then return end
    read[name] = true
    local begins = (not before or BEFORE_STATEMENT[before]) and open ~= "(" and open ~= "{"
    if after == "=" or before == "function" or after == "," and begins then
      assigned[name] = true
    end
  end)
  return read, assigned
end

--- Returns a prologue that requires the modules that code reads and does not replace, so that it
--- can use them in workers too.
---@param code string
---@return string prologue
function evaluate.prologue(code)
  local ok, tokens = pcall(lexer.tokens, code)
  if not ok then return "" end -- the code cannot be loaded either
  local read, assigned = module_names(code, tokens)
  local parts = {}
  for name in pairs(read) do
    if not assigned[name] then
      parts[#parts + 1] = ("local %s = require(%q) "):format(name, evaluate.modules[name])
    end
  end
  table.sort(parts)
  return table.concat(parts)
end

--- @class fleet.Reply results of code: values 1..n, nil for those that cannot be sent
--- @field n integer
--- @field shown table<integer, string>|nil the text of values that cannot be sent, by index

--- Packs values so that they can be sent.
---@param ... any
---@return fleet.Reply
function evaluate.pack(...)
  local reply, shown = table.pack(...), {}
  for i = 1, reply.n do
    if not codec.encode(reply[i]) then reply[i], shown[i] = nil, pretty.format(reply[i]) end
  end
  reply.shown = next(shown) and shown
  return reply
end

--- Loads and runs code that is known to be valid; raises what it raises.
---@param loader fun(text: string, chunkname: string): function|nil, string|nil
---@param text string
---@param chunkname string
---@param prologue? string
---@param ... any the arguments of the code
---@return fleet.Reply
function evaluate.run(loader, text, chunkname, prologue, ...)
  local f, message = evaluate.load(text, chunkname, loader, prologue)
  if not f then error(message, 0) end
  return evaluate.pack(f(...))
end

-- Sent as source of its own: it needs only globals that every worker has.
local REMOTE = [[
return function(...) return require("fleet.repl.evaluate").run(load, ...) end
]]

--- Returns the function to ship. It takes the arguments of `run` after the loader, and evaluates
--- with the globals of the worker.
---@param loader fun(text: string, chunkname: string): function|nil
---@return function
function evaluate.remote(loader)
  return assert(loader(REMOTE, "=(evaluate)"))()
end

--- Makes errors of the tables in a reply that are errors, which are sent without their metatable.
---@param reply fleet.Reply
---@return fleet.Reply reply itself
function evaluate.values(reply)
  for i = 1, reply.n do errors.wrap(reply[i]) end
  return reply
end

--- Returns a reply as text for people.
---@param reply fleet.Reply
---@param options? fleet.PrettyOptions
---@return string lines, without the last line feed; "" when there are no values
function evaluate.format(reply, options)
  if not reply.shown then return pretty.values(reply, options) end
  local parts = {}
  for i = 1, reply.n do parts[i] = reply.shown[i] or pretty.format(reply[i], options) end
  return table.concat(parts, "\n")
end

return evaluate
