-- SPDX-License-Identifier: MIT
-- Results on their way out: rows of (item, result or error) as JSON Lines, CSV
-- or a table, or the one value that a job's reduce makes of them. Rows leave in
-- the order in which they come.

local errors = require("fleet.errors")
local pretty = require("fleet.base.pretty")
local tabular = require("fleet.run.tabular")
local text = require("fleet.base.text")

local output = {}

local CHUNK = 32 * 1024

--- @class fleet.Json
--- @field encode fun(value: any): string|nil, fleet.Error|nil
--- @field encode_record fun(name: string, value: any, ...): string|nil, fleet.Error|nil
--- @field lines fun(): userdata with :add(name, value, ...) and :take()

--- Gathers lines into chunks for `write`. The first failure is kept in
--- `sink.err`, and what comes after it is dropped.
local function new_sink(write)
  local sink = {}
  local lines, count, size = {}, 0, 0

  function sink.flush()
    if count == 0 then return end
    local chunk = table.concat(lines, "", 1, count)
    count, size = 0, 0
    local ok, err = write(chunk)
    if not ok then
      local why = errors.is(err) and err.message or tostring(err)
      sink.err = errors.new({ kind = "output", message = text.one_line(why) })
    end
  end

  function sink.add(line)
    if sink.err or #line == 0 then return end
    count = count + 1
    lines[count] = line
    size = size + #line
    if size >= CHUNK then sink.flush() end
  end

  return sink
end

--- Any value that failed an item, as an error.
local function as_error(value)
  if errors.is(value) then return value end
  return { kind = "raise", message = type(value) == "table" and "an error without a message"
    or tostring(value) }
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
  local pairs_of = { "kind", err.kind, "message", message }
  for _, name in ipairs(names) do
    pairs_of[#pairs_of + 1] = name
    pairs_of[#pairs_of + 1] = err[name]
  end
  return json.encode_record(table.unpack(pairs_of))
    or json.encode_record("kind", err.kind, "message", message)
end

local function jsonl_writer(sink, json)
  local writer = {}
  local lines = json.lines()

  function writer.flush()
    sink.add(lines:take())
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
    sink.add(('{"item":%s,"error":%s}\n'):format(shown, json_error(err, json)))
  end

  function writer.reduced(acc)
    local size, err = lines:add("value", acc)
    return size and true, err
  end

  function writer.finish()
    return {}, false
  end

  return writer
end

local Output = {}

local metatable = { __name = "fleet.run.output", __index = Output }

function Output:fail(item, err)
  self.writer.failure(item, err)
  if self.on_failure then self.on_failure(item, err) end
end

--- Takes the outcome of one item: its result when `ok`, else what failed it.
--- Returns true; or false when the item fails here, since its result cannot be
--- written; or nil and an error when the run has to stop: kind "output" when
--- writing failed, "raise" when reduce raised.
---@param item any
---@param ok boolean
---@param value any
---@return boolean|nil
---@return fleet.Error|nil
function Output:row(item, ok, value)
  local good = ok
  if not ok then
    self:fail(item, as_error(value))
  elseif self.reduce then
    local fine, acc = pcall(self.reduce, self.acc, value)
    if not fine then
      self.broken = true
      local why = text.one_line(pretty.message(acc))
      return nil, errors.new({ kind = "raise", message = "reduce: " .. why })
    end
    self.acc = acc
  else
    local written, err = self.writer.value(item, value)
    if not written then
      self:fail(item, as_error(err))
      good = false
    end
  end
  if self.sink.err then return nil, self.sink.err end
  return good or not ok
end

--- Writes the rows that wait in the buffer, for when nothing else is to do. The
--- first rows of CSV and tables may stay until their columns are known.
---@return true|nil
---@return fleet.Error|nil
function Output:flush()
  if self.writer.flush then self.writer.flush() end
  self.sink.flush()
  if self.sink.err then return nil, self.sink.err end
  return true
end

--- Writes all that is left, the reduced value last; when reduce raised there is
--- none, for what it came to by then would look like the whole. Returns notes for the user,
--- one line each, about what the format could not show (`lost` is true from then on when
--- values were not written); or nil and an error of kind "output", or "encode" when the
--- reduced value cannot be written.
---@return string[]|nil
---@return fleet.Error|nil
function Output:finish()
  if self.reduce and not self.broken then
    local ok, err = self.writer.reduced(self.acc)
    if not ok then
      return nil, errors.new({ kind = "encode", message = "the result of reduce: " .. err.message })
    end
  end
  local notes
  notes, self.lost = self.writer.finish()
  local ok, err = self:flush()
  if not ok then return nil, err end
  return notes
end

--- Makes an output. Options: `format` ("jsonl", "csv", "table"); `write(bytes)`,
--- which returns true, or nil and an error or a string; `json` (fleet.json);
--- `width`, the columns of the terminal that a table has to fit, nil for no
--- limit; `columns`, the names of those of CSV and tables, nil for those of the first results;
--- `reduce(acc, result)` and `init`: results are folded instead of
--- written, errors are written still; `on_failure(item, err)` is told of every failure.
---@param opts table
---@return table output with :row, :flush and :finish
function output.new(opts)
  local sink = new_sink(opts.write)
  local writer
  if opts.format == "jsonl" then
    writer = jsonl_writer(sink, opts.json)
  elseif opts.format == "csv" then
    writer = tabular.csv(sink.add, opts.json, opts.columns)
  else
    writer = tabular.table(sink.add, opts.json, opts.width, opts.columns)
  end
  return setmetatable({ sink = sink, writer = writer, reduce = opts.reduce, acc = opts.init,
    on_failure = opts.on_failure }, metatable)
end

return output
