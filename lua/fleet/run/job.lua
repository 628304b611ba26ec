-- SPDX-License-Identifier: MIT
-- Job scripts: runs the text of one and checks the table that it returns, so that a mistake in a
-- script is reported once, in one line, before any item runs. Drivers and workers load the same
-- text with this module.

local check = require("fleet.base.check")
local errors = require("fleet.errors")
local modules = require("fleet.ship.modules")
local pretty = require("fleet.base.pretty")
local source_cache = require("fleet.ship.source_cache")
local text = require("fleet.base.text")

local job = {}

--- @class fleet.Job
--- @field script? true the chunk returned no table: it was a driver script and has run
--- @field map fun(item: any): any result of one item; nil and an error fail the item
--- @field items? table|fun(...): any the items: a list, or a function that gives a list or an
--- iterator
--- @field setup? fun() runs once in every worker before the first item
--- @field reduce? fun(acc: any, value: any): any runs in the driver, in output order
--- @field init? any the first `acc`
--- @field summary? string what the job does, one line
--- @field options fleet.JobOptions

--- @class fleet.JobOptions
--- @field timeout? number seconds, of one item
--- @field retries? integer how often an item whose node was lost runs again
--- @field batch? integer items sent to a worker at once
--- @field concurrency? integer items in flight at once in each worker
--- @field unordered? boolean results as they complete

local FIELDS = {
  map = { "function" },
  items = { "function", "table" },
  setup = { "function" },
  reduce = { "function" },
  init = false, -- any
  summary = { "string" },
  options = { "table" },
}

local OPTIONS = {
  timeout = check.positive,
  retries = check.integer(0, 1000000),
  batch = check.integer(1, 1000000),
  concurrency = check.integer(1, 1000000),
  unordered = "boolean",
}

local usage = errors.formatter("usage")

-- The first line of a message, after the script's name.
local function located(value, name)
  local message = text.one_line(pretty.message(value))
  if message:find("^[^%s:]+:%d+: ") or message:find(name .. ":", 1, true) == 1 then
    return message
  end
  return ("%s: %s"):format(name, message)
end

local function with_traceback(value)
  return { value = value, traceback = debug.traceback("", 2) }
end

-- The traceback without the callers of the script (Lua 5.5 writes "in global 'xpcall'", 5.4 "in
-- function 'xpcall'"), and without the library's frames unless the library itself raised.
local function trace_of(result)
  local traceback = result.traceback:gsub("^\n", ""):gsub("\n%s*%[C%]: in %a+ 'xpcall'.*$", "")
  local by_library = type(result.value) == "string" and result.value:find("^lua/fleet/")
  return by_library and traceback or check.own_frames(traceback)
end

-- A missing module is a mistake in the script, like a syntax error.
local function missing_module(value, name)
  local module = type(value) == "string" and value:match("module '([^'\n]*)' not found:\n")
  if not module then return nil end
  return usage("%s%s", located(value, name), check.hint(module, modules.library_names())
    or "; it is neither of the library nor on package.path: " .. text.escape(package.path))
end

-- The error for a script that raised.
local function failure_of(raised, name, env)
  if errors.is_unstartable(raised.value) then return raised.value end
  return not env and missing_module(raised.value, name) or errors.new({
    kind = "raise", message = located(raised.value, name), traceback = trace_of(raised),
  })
end

local function check_fields(result, name)
  for key, value in pairs(result) do
    local types = FIELDS[key]
    if types == nil then
      local known = check.sorted_keys(FIELDS)
      return usage("%s: unknown field %s in the job%s", name, text.quote(tostring(key)),
        check.hint(key, known) or "; known are " .. table.concat(known, ", "))
    end
    local fits = not types
    for _, allowed in ipairs(types or {}) do fits = fits or type(value) == allowed end
    if not fits then
      return usage("%s: the job's %s must be a %s, got %s", name, key,
        table.concat(types, " or a "), type(value))
    end
  end
  if not result.map then
    return usage("%s: the job has no map; add map = function(item) ... end", name)
  elseif result.init ~= nil and not result.reduce then
    return usage("%s: the job has init but no reduce", name)
  end
  return nil
end

-- Returns the checked copy of a job's options; or nil and an error.
local function check_options(options, name)
  local ok, result = pcall(check.options, "options", options, OPTIONS)
  if ok then return result end
  local message = result:match("options: (.+)$"):gsub("^option ", "the job's option ")
  return nil, usage("%s: %s", name, text.escape(message))
end

--- Runs the text of a job script and returns the job that it describes. A script that returns no
--- table is a driver script: it has done its work by then, and the result is `{ script = true }`.
--- Failure gives nil and an error whose message is one line that begins with the script's name and
--- line: of kind "usage" for a syntax error or a table that is no job, of kind "raise", with its
--- traceback, when the script raised; or an error of errors.cannot_begin, as it is.
---@param source string Lua source; a first line that begins with # is skipped
---@param chunkname string as for `load`: "@scripts/checksum.lua"
---@param env? table globals of the script; default: those of the caller
---@param ... any what the script has as `...`
---@return fleet.Job|nil
---@return fleet.Error|nil
function job.load(source, chunkname, env, ...)
  local name = text.escape((chunkname:gsub("^[@=]", "")))
  local chunk, message = source_cache.load(source_cache.source(source), chunkname, "t", env or _G)
  if not chunk then return nil, usage("%s", located(message, name)) end
  local ok, result = xpcall(chunk, with_traceback, ...)
  if not ok then return nil, failure_of(result, name, env) end
  if type(result) == "function" then
    return nil, usage("%s: returns a function; a job is a table: return { map = ... }", name)
  elseif type(result) ~= "table" then
    return { script = true }
  end
  local err = check_fields(result, name)
  if err then return nil, err end
  local options
  options, err = check_options(result.options, name)
  if err then return nil, err end
  local loaded = { options = options }
  for field in pairs(FIELDS) do
    if field ~= "options" then loaded[field] = result[field] end
  end
  return loaded
end

return job
