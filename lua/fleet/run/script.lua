-- SPDX-License-Identifier: MIT
-- The script of `moonfleet run`: reads it, and finds out before it runs what it can be. A job is a
-- table that the main chunk returns; a script whose main chunk returns no value anywhere is a
-- driver script.

local errors = require("fleet.errors")
local file = require("fleet.base.file")
local lexer = require("fleet.ship.lexer")
local modules = require("fleet.ship.modules")
local source_cache = require("fleet.ship.source_cache")

local script = {}

--- @class fleet.run.Script
--- @field is_driver boolean whether it cannot return a job
--- @field sees_words boolean whether its code, or code that it loads, may read the words after it
--- @field builds_map boolean whether it sets a field or a variable `map` to a function

-- Names that may lead to `arg`, or to code that is not in this text.
local LEADS_ELSEWHERE = {
  arg = true, _G = true, _ENV = true, load = true, loadfile = true, dofile = true,
}
-- Tokens that may follow a `return` without a value.
local ENDS = {
  ["end"] = true, ["else"] = true, ["elseif"] = true, ["until"] = true, eof = true, [";"] = true,
}

--- Reads the text of a script.
---@param path string
---@return string|nil
---@return fleet.Error|nil of kind "usage"
function script.read(path)
  local source, message = file.read_text(path)
  if source then return source end
  return nil, errors.format("usage", "cannot read the job script %s", message)
end

local function is_own_module(word)
  return modules.library[word:match("^[\"'](.*)[\"']$") or ""] ~= nil
end

--- Finds out what a text can be. One that is not Lua is no driver script; loading it gives the
--- error.
---@param text string
---@return fleet.run.Script
function script.examine(text)
  local found = { is_driver = true, sees_words = false, builds_map = false }
  local ok, tokens = pcall(lexer.tokens, text)
  if not ok or not source_cache.compile(source_cache.source(text), "=script", "t") then
    return { is_driver = false, sees_words = true, builds_map = false }
  end
  local kinds = tokens.kinds
  local function word(i) return text:sub(tokens.starts[i] or 1, tokens.stops[i] or 0) end
  lexer.walk(tokens, function(i, _, functions)
    local kind, in_main = kinds[i], functions == 0
    if kind == "return" and in_main and not ENDS[kinds[i + 1]] then
      found.is_driver = false
    elseif kind == "..." and in_main then
      found.sees_words = true
    elseif kind == "name" then
      local name = word(i)
      if name == "require" then
        local named = kinds[i + 1] == "(" and i + 2 or i + 1
        if kinds[named] ~= "string" or not is_own_module(word(named)) then
          found.sees_words = true
        end
      elseif LEADS_ELSEWHERE[name] then
        found.sees_words = true
      elseif name == "map" then -- map = function, function t.map(, function map(
        local made = kinds[i + 1] == "=" and kinds[i + 2] == "function"
        local before = kinds[i - 1] == "." and i - 2 or i
        found.builds_map = found.builds_map or made or kinds[before - 1] == "function"
      end
    end
  end)
  return found
end

--- Returns whether all words after a script are its own, because it cannot be a job.
---@param path string
---@return boolean
function script.owns_words(path)
  local text = script.read(path)
  return text ~= nil and script.examine(text).is_driver
end

return script
