-- SPDX-License-Identifier: MIT
-- The output of a run: rows of (item, result or error) as JSON Lines, CSV or a table, or the one
-- value that a job's reduce makes of the results. Rows are written in the order in which they come.

local errors = require("fleet.errors")
local pretty = require("fleet.base.pretty")
local tabular = require("fleet.run.tabular")
local text = require("fleet.base.text")

local output = {}

-- Bytes.
local CHUNK = 32 * 1024

--- @class fleet.Json
--- @field encode fun(value: any): string|nil, fleet.Error|nil
--- @field encode_record fun(name: string, value: any, ...): string|nil, fleet.Error|nil
--- @field lines fun(): userdata with :add(name, value, ...) and :take()

--- @class fleet.run.Output
local Output = {}
Output.__index = Output

-- Passes the collected lines to `write`. The first failure is kept in `self.err`.
local function write_lines(self)
  if #self.lines == 0 then return end
  local chunk = #self.lines == 1 and self.lines[1] or table.concat(self.lines)
  self.lines, self.size = {}, 0
  local ok, err = self.write(chunk)
  if not ok then
    local why = errors.is(err) and err.message or tostring(err)
    self.err = errors.new({ kind = "output", message = text.one_line(why) })
  end
end

-- Collects a line. After a failure it is dropped.
local function add_line(self, line)
  if self.err or #line == 0 then return end
  self.lines[#self.lines + 1] = line
  self.size = self.size + #line
  if self.size >= CHUNK then write_lines(self) end
end

--- '{"kind":...,"message":...' and the other fields sorted.
local function json_error(err, json)
  local names = {}
  for name in pairs(err) do
    if type(name) == "string" and name ~= "kind" and name ~= "message" then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  local message = utf8.len(err.message) and err.message or text.escape(err.message)
  local fields = { "kind", err.kind, "message", message }
  for _, name in ipairs(names) do table.move({ name, err[name] }, 1, 2, #fields + 1, fields) end
  return json.encode_record(table.unpack(fields))
    or json.encode_record("kind", err.kind, "message", message)
end

local function jsonl_writer(self, json)
  local writer = {}
  local lines = json.lines()

  function writer.flush()
    add_line(self, lines:take())
  end

  function writer.value(item, value)
    local size, err = lines:add("item", item, "value", value)
    if not size then return nil, err end
    if size >= CHUNK then writer.flush() end
    return true
  end

  function writer.failure(item, err)
    local shown = json.encode(item) or json.encode(text.escape(tostring(item)))
    writer.flush()
    add_line(self, ('{"item":%s,"error":%s}\n'):format(shown, json_error(err, json)))
  end

  function writer.reduced(acc)
    return lines:add("value", acc)
  end

  function writer.finish()
    return {}, false
  end

  return writer
end

local function fail(self, item, err)
  if not errors.is(err) then
    local message = type(err) == "table" and "an error without a message" or tostring(err)
    err = { kind = "raise", message = message }
  end
  self.writer.failure(item, err)
  if self.on_failure then self.on_failure(item, err) end
end

--- Adds the outcome of one item: its result if `ok`, else the error that failed it.
--- Returns true; or false when the item fails here, because its result cannot be
--- written; or nil and an error when the run has to stop: kind "output" when
--- writing failed, "raise" when reduce raised.
---@param item any
---@param ok boolean
---@param value any
---@return boolean|nil
---@return fleet.Error|nil
function Output:row(item, ok, value)
  local written, err = true
  if not ok then
    fail(self, item, value)
  elseif self.reduce then
    local fine, acc = pcall(self.reduce, self.acc, value)
    if not fine then
      self.broken = true
      return nil, errors.format("raise", "reduce: %s", text.one_line(pretty.message(acc)))
    end
    self.acc = acc
  else
    written, err = self.writer.value(item, value)
    if not written then fail(self, item, err) end
  end
  if self.err then return nil, self.err end
  return written or false
end

--- Writes the buffered rows, for when nothing else is to do. The first rows of CSV and tables may
--- stay until their columns are known.
---@return true|nil
---@return fleet.Error|nil
function Output:flush()
  if self.writer.flush then self.writer.flush() end
  write_lines(self)
  if self.err then return nil, self.err end
  return true
end

--- Writes everything that is left, the reduced value last; none when reduce raised, because a
--- partial value would look complete. Returns notes for the user, one line each, about what the
--- format could not show (`lost` is then true when values were not written); or nil and an
--- error of kind "output", or "encode" when the reduced value cannot be written.
---@return string[]|nil
---@return fleet.Error|nil
function Output:finish()
  if self.reduce and not self.broken then
    local ok, err = self.writer.reduced(self.acc)
    if not ok then return nil, errors.format("encode", "the result of reduce: %s", err.message) end
  end
  local notes
  notes, self.lost = self.writer.finish()
  local ok, err = self:flush()
  if not ok then return nil, err end
  return notes
end

--- Makes an output. Options: `format` ("jsonl", "csv", "table"); `write(bytes)`, which returns
--- true, or nil and an error or a string; `json` (fleet.json); `width` that a table has to fit
--- into, default: no limit; `columns` of CSV and tables, default: those of the first results;
--- `reduce(acc, result)` and `init`: results are folded instead of written, errors are still
--- written; `on_failure(item, err)` is called for every failure.
---@param opts table
---@return fleet.run.Output
function output.new(opts)
  local self = setmetatable({ lines = {}, size = 0, write = opts.write, reduce = opts.reduce,
    acc = opts.init, on_failure = opts.on_failure }, Output)
  local function add(line) add_line(self, line) end
  if opts.format == "jsonl" then
    self.writer = jsonl_writer(self, opts.json)
  elseif opts.format == "csv" then
    self.writer = tabular.csv(add, opts.json, opts.columns)
  else
    self.writer = tabular.table(add, opts.json, opts.width, opts.columns)
  end
  return self
end

return output
