-- SPDX-License-Identifier: MIT
-- Results in columns, as CSV and as a table for people. The columns are those that --columns
-- names, or are learned from the first rows, which are held back until then: a result that is a
-- table with names only gives one column per name, sorted; any other result is the one column
-- "value". Nested values are JSON text. docs/formats.md has the rules.

local check = require("fleet.base.check")
local text = require("fleet.base.text")

local tabular = {}

-- Rows held back until the columns are known, more while all of them failed.
local FIRST_ROWS = 200
local FIRST_ROWS_FAILED = 1000
local FIRST_BYTES = 4 * 1024 * 1024
-- Columns of a table are not shortened below this.
local MIN_WIDTH = 6
local MAX_NOTED_NAMES = 20

-- Their names are taken by other columns of CSV.
local RESERVED = { item = true, error = true, error_kind = true }

--- Returns why names cannot be the columns, or nil.
---@param names string[]
---@return string|nil
function tabular.columns_fault(names)
  local seen = {}
  for _, name in ipairs(names) do
    if RESERVED[name] then
      return ("%s is a column of every row; the field of results is value.%s"):format(name, name)
    elseif seen[name] then
      return ("%s is named twice"):format(text.quote(name))
    end
    seen[name] = true
  end
  return nil
end

--- @class fleet.run.Row
--- @field item string
--- @field cells? table<string, string> of a result, by column
--- @field err? fleet.Error

local function shortest_float(number, json)
  return (json.encode(number):gsub('"', ""))
end

local function six_digits(number, json)
  local finite = number - number == 0
  return finite and ("%.6g"):format(number) or shortest_float(number, json)
end

--- Whether a result is shown by its fields: a table with names only.
local function has_fields(value)
  if type(value) ~= "table" or next(value) == nil then return false end
  for key in pairs(value) do
    if type(key) ~= "string" then return false end
  end
  return true
end

local function size_of(row)
  local size = #row.item
  for name, cell in pairs(row.cells or {}) do size = size + #name + #cell end
  return size
end

--- The names of all columns of the rows, sorted; "value" when there are none.
local function column_names(rows)
  local known = {}
  for _, row in ipairs(rows) do
    for name in pairs(row.cells or {}) do known[name] = true end
  end
  return next(known) and check.sorted_keys(known) or { "value" }
end

--- Returns a function that counts a name and one that returns the notes about all of them: fields
--- that first came after the columns were fixed.
local function new_late_fields()
  local counts, names, others = {}, {}, 0

  local function count(name)
    if not counts[name] and #names == MAX_NOTED_NAMES then
      others = others + 1
      return
    elseif not counts[name] then
      names[#names + 1] = name
    end
    counts[name] = (counts[name] or 0) + 1
  end

  -- What would have given every field its column, unless that is too long to type.
  local function advice(columns)
    local all = table.move(names, 1, #names, #columns + 1, { table.unpack(columns) })
    local words = table.concat(all, ",")
    if #all > MAX_NOTED_NAMES or words:find("[%c%s]") or select(2, words:gsub(",", "")) >= #all then
      return "write all with --format jsonl"
    end
    return ("write all with --columns %s or --format jsonl"):format(text.escape(words))
  end

  local function notes(columns)
    local list = {}
    table.sort(names)
    for i, name in ipairs(names) do
      list[i] = ("%s came after the columns were fixed: %s not written"):format(text.quote(name),
        text.count(counts[name], "value"))
    end
    if others > 0 then
      list[#list + 1] = ("%d values of other fields were not written either"):format(others)
    end
    if #list > 0 then list[#list + 1] = advice(columns) end
    return list, #list > 0
  end

  return count, notes
end

--- Returns the same pair for columns that --columns names; the first takes a row. Other fields are
--- left out on purpose, but a result that has none of the columns is lost, and a column that no
--- result has is likely a mistake.
local function new_selection(columns)
  local unseen, results, without = {}, 0, 0
  for _, name in ipairs(columns) do unseen[name] = true end

  local function count(row)
    if not row.cells or next(row.cells) == nil then return end
    local has = false
    for _, name in ipairs(columns) do
      if row.cells[name] then
        has, unseen[name] = true, nil
      end
    end
    results = results + 1
    if not has then without = without + 1 end
  end

  local function notes()
    local list = {}
    if without > 0 then
      list[1] = ("%s none of the columns that --columns names, so nothing of %s was written")
        :format(without == 1 and "1 result has" or without .. " results have",
        without == 1 and "it" or "them")
    end
    for _, name in ipairs(columns) do
      if unseen[name] and results > without then
        list[#list + 1] = ("no result has %s, which --columns names"):format(text.quote(name))
      end
    end
    return list, without > 0
  end

  return count, notes
end

--- @class fleet.run.Format
--- @field needs_rows boolean whether `start` needs the first rows even if the columns are known
--- @field float fun(number: number, json: fleet.Json): string
--- @field start fun(columns: string[], rows: fleet.run.Row[]): string[], table returns the columns
--- that it shows, and a set of those that it leaves out as long as they repeat the item
--- @field write fun(row: fleet.run.Row)

--- A writer (see fleet.run.output) of rows in columns; `selected` are those that --columns names.
---@param format fleet.run.Format
---@param json fleet.Json
---@param selected string[]|nil
local function new_writer(format, json, selected)
  local writer = {}
  local count_late, late_notes = new_late_fields()
  local held, held_bytes, any_result = {}, 0, false
  local columns, shown, repeated -- once they are known
  local count_row, selection_notes
  if selected then count_row, selection_notes = new_selection(selected) end

  local function cell(value)
    if type(value) == "string" then return value end
    if value == nil then return "" end
    if math.type(value) == "float" then return format.float(value, json) end
    return json.encode(value)
  end

  local function cells(value)
    if value == nil then return {} end
    local by_name = {}
    for name, field in pairs(has_fields(value) and value or { value = value }) do
      local content, err = cell(field)
      if not content then return nil, err end
      by_name[RESERVED[name] and "value." .. name or name] = content
    end
    return by_name
  end

  local function write(row)
    if selected then
      count_row(row)
    else
      for name, content in pairs(row.cells or {}) do
        if not shown[name] and not (repeated[name] and content == row.item) then
          count_late(name)
        end
      end
    end
    format.write(row)
  end

  local function start()
    columns, repeated = format.start(selected or column_names(held), held)
    shown = {}
    for _, name in ipairs(columns) do shown[name] = true end
    for _, row in ipairs(held) do write(row) end
    held = nil
  end

  if selected and not format.needs_rows then start() end

  local function add(item, by_name, err)
    local row = { item = cell(item) or tostring(item), cells = by_name, err = err }
    if columns then return write(row) end
    held[#held + 1] = row
    held_bytes = held_bytes + size_of(row)
    any_result = any_result or by_name ~= nil
    local limit = any_result and FIRST_ROWS or FIRST_ROWS_FAILED
    if #held >= limit or held_bytes > FIRST_BYTES then start() end
  end

  function writer.value(item, value)
    local by_name, err = cells(value)
    if not by_name then return nil, err end
    add(item, by_name)
    return true
  end

  function writer.failure(item, err)
    add(item, nil, err)
  end

  --- A reduced table with names is a row for each name, sorted.
  function writer.reduced(acc)
    local is_table = has_fields(acc)
    for _, name in ipairs(is_table and check.sorted_keys(acc) or { "result" }) do
      local value = acc
      if is_table then value = acc[name] end
      local content, err = cell(value)
      if not content then return nil, err end
      add(name, { value = content })
    end
    return true
  end

  --- Writes the remaining rows. Returns the notes for the user, and whether they report a loss.
  function writer.finish()
    if not columns then start() end
    if selected then return selection_notes() end
    return late_notes(columns)
  end

  return writer
end

local function csv_field(s)
  if s:find('[",\r\n]') then return '"' .. s:gsub('"', '""') .. '"' end
  return s
end

--- A writer of CSV as in RFC 4180: item, the columns of the results, error_kind, error. Fields of
--- results with one of these names are called value.item and so on. Bytes are written as they are.
---@param add fun(line: string)
---@param json fleet.Json
---@param selected? string[] columns; default: those of the first results
---@return table writer
function tabular.csv(add, json, selected)
  local names
  local format = { needs_rows = false, float = shortest_float }

  local function write_line(line)
    for i, field in ipairs(line) do line[i] = csv_field(field) end
    add(table.concat(line, ",") .. "\r\n")
  end

  function format.start(columns)
    names = columns
    local header = { "item", table.unpack(names) }
    write_line(table.move({ "error_kind", "error" }, 1, 2, #header + 1, header))
    return names, {}
  end

  function format.write(row)
    local line = { row.item }
    for i, name in ipairs(names) do line[i + 1] = row.cells and row.cells[name] or "" end
    line[#line + 1] = row.err and row.err.kind or ""
    line[#line + 1] = row.err and row.err.message or ""
    write_line(line)
  end

  return new_writer(format, json, selected)
end

--- Takes columns from the widest of `widths` until their lines fit into `limit`, or all are at
--- their minimum.
local function shrink(widths, limit)
  local total = 2 * (#widths - 1)
  for i, width in ipairs(widths) do
    widths[i] = math.min(width, limit)
    total = total + widths[i]
  end
  while total > limit do
    local widest = 1
    for i = 2, #widths do
      if widths[i] > widths[widest] then widest = i end
    end
    if widths[widest] <= MIN_WIDTH then return end
    widths[widest] = widths[widest] - 1
    total = total - 1
  end
end

--- Sorts columns into those in which a result says more than its item (all when there is none),
--- and a set of the others.
local function split_columns(columns, rows)
  local informative, repeated = {}, {}
  for _, name in ipairs(columns) do
    repeated[name] = true
    for _, row in ipairs(rows) do
      if row.cells and (row.cells[name] or row.item) ~= row.item then
        informative[#informative + 1], repeated[name] = name, nil
        break
      end
    end
  end
  if informative[1] then return informative, repeated end
  return columns, {}
end

--- A writer of a table for people: item and the columns of the results, aligned, numbers on the
--- right; an error takes the place of the columns. A column that only repeats the item is left
--- out, unless --columns names it. Widths are those of the first rows; with `width`, longer text
--- is shortened in its middle so that lines fit.
---@param add fun(line: string)
---@param json fleet.Json
---@param width? integer columns of the terminal
---@param selected? string[] columns; default: those of the first results
---@return table writer
function tabular.table(add, json, width, selected)
  local names
  local widths, to_right = {}, {}
  local format = { needs_rows = true, float = six_digits } -- rows for the widths

  local function write_line(line)
    for i, cell in ipairs(line) do
      if width then cell = text.fit(cell, widths[i]) end
      line[i] = text.pad(cell, widths[i], to_right[i])
    end
    add(table.concat(line, "  "):gsub(" +$", "") .. "\n")
  end

  local function line_of(row)
    local line = { text.escape(row.item) }
    for i, name in ipairs(row.cells and names or {}) do
      line[i + 1] = text.escape(row.cells[name] or "")
    end
    return line
  end

  function format.start(columns, rows)
    local repeated = {}
    names = columns
    if not selected then names, repeated = split_columns(columns, rows) end
    local header = { "item", table.unpack(names) }
    for i, name in ipairs(header) do
      header[i] = text.escape(name)
      widths[i] = text.width(header[i])
      to_right[i] = #rows > 0
    end
    for _, row in ipairs(rows) do
      for i, cell in ipairs(line_of(row)) do
        widths[i] = math.max(widths[i], text.width(cell))
        if cell ~= "" and not tonumber(cell) then to_right[i] = false end
      end
    end
    if width then shrink(widths, width) end
    if #rows > 0 then write_line(header) end
    return names, repeated
  end

  function format.write(row)
    local line = line_of(row)
    if row.cells then return write_line(line) end
    local item, message = line[1], text.escape(("%s: %s"):format(row.err.kind, row.err.message))
    if width then
      item = text.fit(item, widths[1])
      message = text.fit(message, math.max(width - widths[1] - 2, MIN_WIDTH))
    end
    add(text.pad(item, widths[1], to_right[1]) .. "  " .. message .. "\n")
  end

  return new_writer(format, json, selected)
end

return tabular
