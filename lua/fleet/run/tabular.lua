-- SPDX-License-Identifier: MIT
-- Results in columns, as CSV and as a table for people. The columns are those
-- that are asked for, or are learned from the first rows, which wait until then:
-- a result that is a table with names gives one column for each name, sorted;
-- any other result is the one column "value". Nested values are JSON text.
-- docs/formats.md has the rules.

local text = require("fleet.base.text")

local tabular = {}

-- Rows held until the columns are settled, more while all of them failed.
local FIRST_ROWS = 200
local FIRST_ROWS_FAILED = 1000
local FIRST_BYTES = 4 * 1024 * 1024
-- Columns of a table are not shortened below this.
local LEAST_WIDTH = 6
local NOTED_NAMES = 20

-- Their names are taken by other columns of CSV.
local RESERVED = { item = true, error = true, error_kind = true }

--- Why names cannot be the columns that are asked for, or nil.
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

--- @class fleet.tabular.Row
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

--- Returns functions that make text of values; `float` does for floats.
local function new_formatter(json, float)
  local function cell(value)
    if type(value) == "string" then return value end
    if value == nil then return "" end
    if math.type(value) == "float" then return float(value, json) end
    return json.encode(value)
  end

  local function cells(value)
    if value == nil then return {} end
    if not has_fields(value) then
      local shown, err = cell(value)
      if not shown then return nil, err end
      return { value = shown }
    end
    local by_name = {}
    for name, field in pairs(value) do
      local shown, err = cell(field)
      if not shown then return nil, err end
      by_name[RESERVED[name] and "value." .. name or name] = shown
    end
    return by_name
  end

  return cell, cells
end

local function size_of(row)
  local size = #row.item
  for name, cell in pairs(row.cells or {}) do size = size + #name + #cell end
  return size
end

--- The names of all columns of the rows, sorted; "value" when there are none.
local function column_names(rows)
  local known, names = {}, {}
  for _, row in ipairs(rows) do
    for name in pairs(row.cells or {}) do
      if not known[name] then
        known[name] = true
        names[#names + 1] = name
      end
    end
  end
  table.sort(names)
  if #names == 0 then names[1] = "value" end
  return names
end

-- What would have given every field its column, as long as that can be typed.
local function way_out(columns, late)
  local all = table.move(late, 1, #late, #columns + 1, { table.unpack(columns) })
  local words = table.concat(all, ",")
  if #all > NOTED_NAMES or words:find("[%c%s]") or select(2, words:gsub(",", "")) >= #all then
    return "write all with --format jsonl"
  end
  return ("write all with --columns %s or --format jsonl"):format(text.escape(words))
end

--- Counts what had no column, for the notes at the end.
local function new_losses()
  local losses = {}
  local counts, names, others = {}, {}, 0

  function losses.count(name)
    if counts[name] then
      counts[name] = counts[name] + 1
    elseif #names < NOTED_NAMES then
      names[#names + 1] = name
      counts[name] = 1
    else
      others = others + 1
    end
  end

  --- The notes about what came after `columns` were settled.
  function losses.notes(columns)
    local notes = {}
    table.sort(names)
    for i, name in ipairs(names) do
      notes[i] = ("%s came after the columns were settled: %d value%s not written"):format(
        text.quote(name), counts[name], counts[name] == 1 and "" or "s")
    end
    if others > 0 then
      notes[#notes + 1] = ("%d values of other fields were not written either"):format(others)
    end
    if #notes > 0 then notes[#notes + 1] = way_out(columns, names) end
    return notes
  end

  return losses
end

--- Looks at rows whose columns were asked for: other fields are left out on purpose, but a result
--- that has none of the columns is lost, and a column that no result has is likely a mistake.
local function new_selection(columns)
  local selection = {}
  local unseen, results, without = {}, 0, 0
  for _, name in ipairs(columns) do unseen[name] = true end

  function selection.look(row)
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

  --- The notes, and whether anything was lost.
  function selection.notes()
    local notes = {}
    if without > 0 then
      notes[1] = ("%s none of the columns that --columns names, so nothing of %s was written")
        :format(without == 1 and "1 result has" or without .. " results have",
        without == 1 and "it" or "them")
    end
    for _, name in ipairs(columns) do
      if unseen[name] and results > without then
        notes[#notes + 1] = ("no result has %s, which --columns names"):format(text.quote(name))
      end
    end
    return notes, without > 0
  end

  return selection
end

--- A writer (see fleet.output) of rows in columns. `settle(names, rows)` learns
--- the columns and returns the set of those it has; `write_row(row)` follows.
--- `columns`: those that were asked for.
local function new_writer(format, cell, cells, columns)
  local writer = {}
  local losses, selection = new_losses(), columns and new_selection(columns)
  local held, held_bytes, any_result, shown = {}, 0, false, nil
  local settled = {} -- the columns that are shown

  local function write_row(row)
    for name, value in pairs(not selection and row.cells or {}) do
      if not shown[name] and not format.is_repeated(name, value, row) then losses.count(name) end
    end
    if selection then selection.look(row) end
    format.write_row(row)
  end

  local function settle()
    local names = columns or column_names(held)
    shown = format.settle(names, held)
    for _, name in ipairs(names) do
      if shown[name] then settled[#settled + 1] = name end
    end
    for _, row in ipairs(held) do write_row(row) end
    held = nil
  end

  if columns and not format.needs_rows then settle() end

  local function add(row)
    if shown then return write_row(row) end
    held[#held + 1] = row
    held_bytes = held_bytes + size_of(row)
    any_result = any_result or row.cells ~= nil
    local limit = any_result and FIRST_ROWS or FIRST_ROWS_FAILED
    if #held >= limit or held_bytes > FIRST_BYTES then settle() end
  end

  local function item_text(item)
    return cell(item) or tostring(item)
  end

  function writer.value(item, value)
    local by_name, err = cells(value)
    if not by_name then return nil, err end
    add({ item = item_text(item), cells = by_name })
    return true
  end

  function writer.failure(item, err)
    add({ item = item_text(item), err = err })
  end

  --- A reduced table with names is a row for each name, sorted.
  function writer.reduced(acc)
    if not has_fields(acc) then
      local whole, err = cell(acc)
      if not whole then return nil, err end
      add({ item = "result", cells = { value = whole } })
      return true
    end
    local names = {}
    for name in pairs(acc) do names[#names + 1] = name end
    table.sort(names)
    for _, name in ipairs(names) do
      local part, err = cell(acc[name])
      if not part then return nil, err end
      add({ item = name, cells = { value = part } })
    end
    return true
  end

  --- Writes what is left; returns the notes for the user, and whether they tell of a loss.
  function writer.finish()
    if not shown then settle() end
    if selection then return selection.notes() end
    local notes = losses.notes(settled)
    return notes, #notes > 0
  end

  return writer
end

local function set_of(names)
  local set = {}
  for _, name in ipairs(names) do set[name] = true end
  return set
end

local function csv_field(s)
  if s:find('[",\r\n]') then return '"' .. s:gsub('"', '""') .. '"' end
  return s
end

--- A writer of CSV as RFC 4180 has it: item, the columns of the results,
--- error_kind, error. Fields of results with one of these names are called
--- value.item and so on. Bytes are written as they are.
---@param add fun(line: string)
---@param json fleet.Json
---@param asked? string[] columns; nil: those of the first results
---@return table writer
function tabular.csv(add, json, asked)
  local names
  local format = { needs_rows = false }

  local function write_line(line)
    for i, field in ipairs(line) do line[i] = csv_field(field) end
    add(table.concat(line, ",") .. "\r\n")
  end

  function format.settle(columns)
    names = columns
    local header = { "item", table.unpack(columns) }
    table.move({ "error_kind", "error" }, 1, 2, #header + 1, header)
    write_line(header)
    return set_of(columns)
  end

  function format.is_repeated()
    return false
  end

  function format.write_row(row)
    local line = { row.item }
    for i, name in ipairs(names) do line[i + 1] = row.cells and row.cells[name] or "" end
    line[#line + 1] = row.err and row.err.kind or ""
    line[#line + 1] = row.err and row.err.message or ""
    write_line(line)
  end

  local cell, cells = new_formatter(json, shortest_float)
  return new_writer(format, cell, cells, asked)
end

--- Takes from the widest of `widths` until their lines fit `limit`, or all are
--- at their least.
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
    if widths[widest] <= LEAST_WIDTH then return end
    widths[widest] = widths[widest] - 1
    total = total - 1
  end
end

--- The names of the columns in which a result says more than its item; all when
--- there is none.
local function telling_names(columns, rows)
  local telling = {}
  for _, name in ipairs(columns) do
    for _, row in ipairs(rows) do
      if row.cells and (row.cells[name] or row.item) ~= row.item then
        telling[#telling + 1] = name
        break
      end
    end
  end
  return telling[1] and telling or columns
end

--- A writer of a table for people: item and the columns of the results, aligned,
--- numbers on the right; an error takes the place of the columns. A column that
--- only repeats the item is left out, unless it was asked for. Widths are those of
--- the first rows; with `width`, longer text is shortened in its middle so that lines fit.
---@param add fun(line: string)
---@param json fleet.Json
---@param width? integer columns of the terminal
---@param asked? string[] columns; nil: those of the first results
---@return table writer
function tabular.table(add, json, width, asked)
  local names, repeated
  local widths, to_right = {}, {}
  local format = { needs_rows = true } -- for the widths

  local function write_line(line)
    for i, cell in ipairs(line) do
      if width then cell = text.fit(cell, widths[i]) end
      line[i] = text.pad(cell, widths[i], to_right[i])
    end
    add(table.concat(line, "  "):gsub(" +$", "") .. "\n")
  end

  local function line_of(row)
    local line = { text.escape(row.item) }
    for i, name in ipairs(names) do line[i + 1] = text.escape(row.cells[name] or "") end
    return line
  end

  local function learn(rows)
    local header = { "item", table.unpack(names) }
    for i, name in ipairs(header) do
      header[i] = text.escape(name)
      widths[i] = text.width(header[i])
      to_right[i] = #rows > 0
    end
    for _, row in ipairs(rows) do
      for i, cell in ipairs(row.cells and line_of(row) or { text.escape(row.item) }) do
        widths[i] = math.max(widths[i], text.width(cell))
        if cell ~= "" and not tonumber(cell) then to_right[i] = false end
      end
    end
    if width then shrink(widths, width) end
    return header
  end

  function format.settle(columns, rows)
    names = asked or telling_names(columns, rows)
    local shown = set_of(names)
    repeated = {}
    for _, name in ipairs(columns) do repeated[name] = not shown[name] end
    local header = learn(rows)
    if #rows > 0 then write_line(header) end
    return shown
  end

  function format.is_repeated(name, value, row)
    return repeated[name] and value == row.item
  end

  function format.write_row(row)
    if row.cells then return write_line(line_of(row)) end
    local item = text.escape(row.item)
    local message = text.escape(("%s: %s"):format(row.err.kind, row.err.message))
    if width then
      item = text.fit(item, widths[1])
      message = text.fit(message, math.max(width - widths[1] - 2, LEAST_WIDTH))
    end
    add(text.pad(item, widths[1], to_right[1]) .. "  " .. message .. "\n")
  end

  local cell, cells = new_formatter(json, six_digits)
  return new_writer(format, cell, cells, asked)
end

return tabular
