-- SPDX-License-Identifier: MIT
-- Code that somebody typed, as a function, and its results in a form that
-- travels: the REPL and `moonfleet eval` use it here and, shipped, in workers.

local codec = require("host.codec")
local errors = require("fleet.errors")
local lexer = require("fleet.ship.lexer")
local pretty = require("fleet.base.pretty")

local evaluate = {}

-- A string in quotes ends with its line, whatever comes.
local function could_go_on(message)
  return message:find("<eof>$") ~= nil and not message:find("unfinished string near", 1, true)
end

--- Loads code that is an expression (then its values are the results), also one
--- after "=", as older Lua prompts have it, or statements. `prologue` is put
--- before it, on its first line.
---@param text string
---@param chunkname string as for load
---@param loader fun(text: string, chunkname: string): function|nil, string|nil
---@param prologue? string
---@return function|nil f
---@return string|nil message what is wrong with the code
---@return boolean|nil incomplete whether more lines could make it right
function evaluate.load(text, chunkname, loader, prologue)
  prologue = prologue or ""
  text = text:gsub("^(%s*)=([^=])", "%1return %2", 1)
  local f, as_expression = loader(prologue .. "return " .. text, chunkname)
  if f then return f end
  local message
  f, message = loader(prologue .. text, chunkname)
  if f then return f end
  if could_go_on(message) then return nil, message, true end
  if could_go_on(as_expression) then return nil, as_expression, true end -- "1 +"
  return nil, message, false
end

-- Modules that typed code has at hand.
evaluate.modules = {
  digest = "fleet.digest", fleet = "fleet", http = "fleet.http", json = "fleet.json",
  xml = "fleet.xml",
}

-- Behind these a statement may begin, whose first word a variable is.
local BEFORE_STATEMENT = {}
for token in ([[name number string ) } ] end nil true false ... ; then do else repeat]])
  :gmatch("%S+") do
  BEFORE_STATEMENT[token] = true
end

-- Which of the modules at hand a text reads, and which of them it assigns: the name of a field, or
-- a key of a table, is neither.
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

--- The modules at hand that code reads and does not replace, as a prologue, so that
--- they are at hand in workers too.
---@param code string
---@return string prologue
function evaluate.prologue(code)
  local ok, tokens = pcall(lexer.tokens, code)
  if not ok then return "" end -- nor can it be loaded
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

--- @class fleet.Reply results of code: for each 1..n a table with `value` (nil: it was nil), or
---   with `shown`, the text for people of what cannot travel
--- @field n integer

--- Values as what can be sent.
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

--- Loads and runs code that is known to be right; raises what it raises.
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

-- Sent as text of its own: it needs nothing but globals that every worker has.
local REMOTE = [[
return function(...) return require("fleet.repl.evaluate").run(load, ...) end
]]

--- The function to ship. It takes the arguments of `run` after the loader and
--- evaluates with the globals of the worker.
---@param loader fun(text: string, chunkname: string): function|nil that makes texts known to ship
---@return function
function evaluate.remote(loader)
  return assert(loader(REMOTE, "=(evaluate)"))()
end

--- The values of a reply; nil for those that did not travel.
---@param reply fleet.Reply
---@return table values with n
function evaluate.values(reply)
  local values = { n = reply.n }
  for i = 1, reply.n do values[i] = errors.wrap(reply[i].value) end
  return values
end

--- A reply for people.
---@param reply fleet.Reply
---@param options? fleet.PrettyOptions
---@return string lines, without the last line feed; "" when there are no values
function evaluate.format(reply, options)
  local parts, travelled = {}, true
  for i = 1, reply.n do
    parts[i] = reply[i].shown or pretty.format(errors.wrap(reply[i].value), options)
    travelled = travelled and not reply[i].shown
  end
  if travelled then return pretty.values(evaluate.values(reply), options) end
  return table.concat(parts, "\n")
end

return evaluate
