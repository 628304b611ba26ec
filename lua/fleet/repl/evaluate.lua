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

--- @class fleet.Reply results of code: each of 1..n is a table with `value`, or with `shown`, the
--- text for a value that cannot be sent
--- @field n integer

--- Packs values so that they can be sent.
---@param ... any
---@return fleet.Reply
function evaluate.pack(...)
  local reply = table.pack(...)
  for i = 1, reply.n do
    if codec.encode(reply[i]) then
      reply[i] = { value = reply[i] }
    else
      reply[i] = { shown = pretty.format(reply[i]) }
    end
  end
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

--- Returns the values of a reply; nil for those that could not be sent.
---@param reply fleet.Reply
---@return table values with n
function evaluate.values(reply)
  local values = { n = reply.n }
  for i = 1, reply.n do values[i] = errors.wrap(reply[i].value) end
  return values
end

--- Returns a reply as text for people.
---@param reply fleet.Reply
---@param options? fleet.PrettyOptions
---@return string lines, without the last line feed; "" when there are no values
function evaluate.format(reply, options)
  local parts, is_sent = {}, true
  for i = 1, reply.n do
    parts[i] = reply[i].shown or pretty.format(errors.wrap(reply[i].value), options)
    is_sent = is_sent and not reply[i].shown
  end
  if is_sent then return pretty.values(evaluate.values(reply), options) end
  return table.concat(parts, "\n")
end

return evaluate
