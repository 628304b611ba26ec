-- SPDX-License-Identifier: MIT
local errors = require("fleet.errors")
local json = require("spec.support.json")
local tabular = require("fleet.run.tabular")
local text = require("fleet.base.text")

local REFUSED = errors.new({ kind = "connect", message = "refused" })

--- A writer of `kind`, and the list of lines that it wrote.
local function new(kind, width, columns)
  local lines = {}
  local function add(line) lines[#lines + 1] = line end
  if kind == "csv" then return tabular.csv(add, json, columns), lines end
  return tabular.table(add, json, width, columns), lines
end

--- The text that rows {item, value} or {item, err=} make, and the notes.
local function written(kind, rows, width, columns)
  local writer, lines = new(kind, width, columns)
  for _, row in ipairs(rows) do
    if row.err then
      writer.failure(row[1], row.err)
    else
      assert(writer.value(row[1], row[2]))
    end
  end
  local notes, lost = writer.finish()
  return table.concat(lines), notes, lost
end

--- Reads CSV as RFC 4180 has it: the opposite of what is tested.
local function read_csv(s)
  local rows, row, at = {}, {}, 1
  while at <= #s do
    local field
    if s:sub(at, at) == '"' then
      local stop = at
      repeat stop = s:find('"', stop + 1, true) + 1 until s:sub(stop, stop) ~= '"'
      field, at = s:sub(at + 1, stop - 2):gsub('""', '"'), stop
    else
      field, at = s:match("^([^,\r\n\"]*)()", at)
    end
    row[#row + 1] = field
    if s:sub(at, at + 1) == "\r\n" then
      rows[#rows + 1], row, at = row, {}, at + 2
    else
      assert(s:sub(at, at) == ",", "no comma at " .. at)
      at = at + 1
    end
  end
  return rows
end

describe("columns that were asked for", function()
  it("are those of CSV, in their order, and rows are written as they come", function()
    local writer, lines = new("csv", nil, { "b", "a" })
    assert.same({ "item,b,a,error_kind,error\r\n" }, lines)
    writer.value("x", { a = 1, c = 3 })
    assert.equal("x,,1,,\r\n", lines[2])
    writer.failure("y", REFUSED)
    assert.equal("y,,,connect,refused\r\n", lines[3])
    writer.value("z", { a = { 1 }, b = true })
    assert.equal('z,true,[1],,\r\n', lines[4])
    assert.same({ {}, false }, { writer.finish() })
  end)

  it("are those of a table, a column that repeats the item too", function()
    local shown, notes, lost = written("table", { { "u", { url = "u", n = 1, x = 2 } } }, nil,
      { "url", "n" })
    assert.equal("item  url  n\nu     u    1\n", shown)
    assert.same({ {}, false }, { notes, lost })
  end)

  it("are enough for what comes late", function()
    local rows = {}
    for i = 1, 300 do rows[i] = { i, { a = i, z = i > 250 and i or nil } } end
    local _, notes, lost = written("csv", rows)
    assert.is_true(lost)
    assert.equal("write all with --columns a,z or --format jsonl", notes[2])
    local csv
    csv, notes, lost = written("csv", rows, nil, { "a", "z" })
    assert.same({ {}, false }, { notes, lost })
    assert.same({ "300", "300", "300", "", "" }, read_csv(csv)[301])
  end)

  it("have all of a result that is none of them counted as lost", function()
    local _, notes, lost = written("csv", { { 1, { a = 1 } }, { 2, { b = 2 } }, { 3, "s" },
      { 4, nil } }, nil, { "a" })
    assert.same({ "2 results have none of the columns that --columns names, so nothing of them was "
      .. "written" }, notes)
    assert.is_true(lost)
  end)

  it("are named when no result has them", function()
    local _, notes, lost = written("csv", { { 1, { a = 1 } } }, nil, { "a", "colour" })
    assert.same({ { "no result has 'colour', which --columns names" }, false }, { notes, lost })
    _, notes = written("csv", { { 1, err = REFUSED } }, nil, { "a" })
    assert.same({}, notes)
  end)

  it("may not be named twice, or as columns of every row", function()
    assert.is_nil(tabular.columns_fault({ "a", "value.item" }))
    assert.equal("'a' is named twice", tabular.columns_fault({ "a", "b", "a" }))
    assert.equal("item is a column of every row; the field of results is value.item",
      tabular.columns_fault({ "item" }))
  end)
end)

describe("tabular.csv", function()
  it("has item, the sorted fields and the error", function()
    assert.equal("item,bytes,status,error_kind,error\r\n"
      .. "u1,10,200,,\r\n"
      .. "u2,,,connect,refused\r\n"
      .. "u3,0.5,404,,\r\n",
      (written("csv", { { "u1", { status = 200, bytes = 10 } }, { "u2", err = REFUSED },
        { "u3", { bytes = 0.5, status = 404 } } })))
  end)

  it("has one column for results without fields", function()
    assert.equal('item,value,error_kind,error\r\na,1,,\r\nb,"[1,2]",,\r\nc,true,,\r\nd,,,\r\n'
      .. 'e,[],,\r\n', (written("csv", { { "a", 1 }, { "b", { 1, 2 } }, { "c", true }, { "d" },
        { "e", {} } })))
  end)

  it("quotes what has to be quoted", function()
    local odd = { 'say "x"', "a,b", "two\nlines", "cr\rlf\r\n", '"', ",", "", " plain ", "\0\xff" }
    local rows = {}
    for i, s in ipairs(odd) do rows[i] = { s, { ["na,me"] = s } } end
    local parsed = read_csv((written("csv", rows)))
    assert.same({ "item", "na,me", "error_kind", "error" }, parsed[1])
    for i, s in ipairs(odd) do assert.same({ s, s, "", "" }, parsed[i + 1]) end
  end)

  it("reads back whatever bytes went in", function()
    math.randomseed(3)
    local alphabet = { '"', ",", "\n", "\r", "a", " ", "ü", "\0" }
    local rows = {}
    for i = 1, 150 do
      local pieces = {}
      for j = 1, math.random(0, 8) do pieces[j] = alphabet[math.random(#alphabet)] end
      rows[i] = { table.concat(pieces), { x = table.concat(pieces, "", 1, #pieces // 2) } }
    end
    local parsed = read_csv((written("csv", rows)))
    for i, row in ipairs(rows) do assert.same({ row[1], row[2].x, "", "" }, parsed[i + 1]) end
  end)

  it("writes nested values and items as JSON", function()
    local parsed = read_csv((written("csv", { { { u = "x" }, { list = { 1, "a" } } } })))
    assert.same({ '{"u":"x"}', '[1,"a"]', "", "" }, parsed[2])
  end)

  it("keeps every digit of numbers", function()
    assert.equal("item,value,error_kind,error\r\n1,0.1,,\r\n2,9007199254740993,,\r\n3,1e+300,,\r\n"
      .. "4,NaN,,\r\n", (written("csv", { { 1, 0.1 }, { 2, 9007199254740993 }, { 3, 1e300 },
        { 4, 0 / 0 } })))
  end)

  it("renames fields whose names are taken", function()
    assert.equal("item,value.error,value.item,error_kind,error\r\na,e,i,,\r\n",
      (written("csv", { { "a", { item = "i", error = "e" } } })))
  end)

  it("has columns for all fields of the first 200 rows", function()
    local rows = { { 0, err = REFUSED }, { 1, { a = 1 } }, { 2, { b = 2 } } }
    assert.equal("item,a,b,error_kind,error\r\n0,,,connect,refused\r\n1,1,,,\r\n2,,2,,\r\n",
      (written("csv", rows)))
  end)

  it("counts what comes when the columns are settled", function()
    local rows = {}
    for i = 1, 200 do rows[i] = { i, { a = i } } end
    rows[201] = { 201, { a = 1, late = 1 } }
    rows[202] = { 202, { late = 2, later = 3 } }
    rows[203] = { 203, "bare" }
    local csv, notes = written("csv", rows)
    assert.equal(204, #read_csv(csv))
    assert.same({
      "'late' came after the columns were fixed: 2 values not written",
      "'later' came after the columns were fixed: 1 value not written",
      "'value' came after the columns were fixed: 1 value not written",
      "write all with --columns a,late,later,value or --format jsonl",
    }, notes)
  end)

  it("names twenty late fields and counts the rest", function()
    local rows = {}
    for i = 1, 200 do rows[i] = { i, 1 } end
    for i = 1, 50 do rows[200 + i] = { i, { ["f" .. i] = 1 } } end
    local _, notes = written("csv", rows)
    assert.equal(22, #notes)
    assert.equal("30 values of other fields were not written either", notes[21])
    assert.equal("write all with --format jsonl", notes[22])
  end)

  it("holds rows back for the columns, at most 1000 that failed", function()
    local writer, lines = new("csv")
    for i = 1, 999 do writer.failure(i, REFUSED) end
    assert.equal(0, #lines)
    writer.failure(1000, REFUSED)
    assert.equal(1001, #lines)
    assert.equal("item,value,error_kind,error\r\n", lines[1])
    writer.value(1001, { a = 1 })
    assert.same({
      "'a' came after the columns were fixed: 1 value not written",
      "write all with --columns value,a or --format jsonl",
    }, (writer.finish()))
  end)

  it("does not hold back much memory", function()
    local writer, lines = new("csv")
    for i = 1, 5 do writer.value(i, ("x"):rep(1 << 20)) end
    assert.is_true(#lines > 0)
  end)

  it("fails a result that cannot be shown and writes nothing for it", function()
    local writer, lines = new("csv")
    local ok, err = writer.value("a", { f = print })
    assert.is_nil(ok)
    assert.equal("encode", err.kind)
    writer.finish()
    assert.same({ "item,value,error_kind,error\r\n" }, lines)
  end)

  it("has a header for no rows", function()
    assert.equal("item,value,error_kind,error\r\n", (written("csv", {})))
  end)
end)

describe("tabular.table", function()
  it("aligns columns, numbers on the right", function()
    assert.equal("item  bytes  name\n"
      .. "a         7  x\n"
      .. "bb    12345\n"
      .. "世        1  yy\n",
      (written("table", { { "a", { bytes = 7, name = "x" } }, { "bb", { bytes = 12345 } },
        { "世", { bytes = 1, name = "yy" } } })))
  end)

  it("shows errors in the place of the columns", function()
    assert.equal("item  value\na         1\nb     connect: refused\n",
      (written("table", { { "a", 1 }, { "b", err = REFUSED } })))
    assert.equal("item  value\nb     connect: refused\n",
      (written("table", { { "b", err = REFUSED } })))
  end)

  it("leaves out a column that repeats the item", function()
    local rows = { { "u1", { url = "u1", n = 1 } }, { "u2", { url = "u2", n = 2 } },
      { "u3", err = REFUSED } }
    local shown, notes = written("table", rows)
    assert.equal("item  n\nu1    1\nu2    2\nu3    connect: refused\n", shown)
    assert.same({}, notes)
    assert.equal("item  value\nx     x\n", (written("table", { { "x", "x" } })))
  end)

  it("counts values of a column left out that no longer repeat the item", function()
    local rows = {}
    for i = 1, 200 do rows[i] = { "u" .. i, { url = "u" .. i, n = i } } end
    rows[201] = { "u201", { url = "elsewhere", n = 1 } }
    local _, notes = written("table", rows)
    assert.same({
      "'url' came after the columns were fixed: 1 value not written",
      "write all with --columns n,url or --format jsonl",
    }, notes)
  end)

  it("shortens floats and the rest in its middle to fit the width", function()
    local rows = {}
    for i = 1, 5 do
      rows[i] = { "http://127.0.0.1/" .. i, { sha256 = ("%064x"):format(i), n = i / 3,
        note = ("日本"):rep(i) } }
    end
    for width = 30, 140, 2 do
      local shown = written("table", rows, width)
      for line in shown:gmatch("[^\n]+") do
        assert.is_true(text.width(line) <= width, line)
      end
    end
    assert.is_truthy(written("table", rows, 80):find("000…000", 1, true))
    assert.is_truthy(written("table", rows):find(("0"):rep(63) .. "1", 1, true))
    assert.is_truthy(written("table", rows):find(" 0.333333 ", 1, true))
  end)

  it("keeps rows after the first 200 to the width as well", function()
    local rows = {}
    for i = 1, 200 do rows[i] = { "i" .. i, "v" } end
    rows[201] = { ("long"):rep(50), ("x"):rep(500) }
    rows[202] = { ("long"):rep(50), err = { kind = "raise", message = ("y"):rep(500) } }
    for line in written("table", rows, 40):gmatch("[^\n]+") do
      assert.is_true(text.width(line) <= 40)
    end
    assert.is_truthy(written("table", rows):find(("x"):rep(500), 1, true))
  end)

  it("shows six digits of fractions, and what is no number as CSV does", function()
    assert.equal("item  value\na     0.333333\nb     NaN\nc     -Infinity\n",
      written("table", { { "a", 1 / 3 }, { "b", 0 / 0 }, { "c", -1 / 0 } }))
  end)

  it("shows control characters instead of obeying them", function()
    local shown = written("table", { { "a\27[2Jb\n", { ["na\nme"] = "x\ty" } },
      { "c", err = { kind = "raise", message = "line\nbreak\a" } } })
    assert.equal("item         na\\nme\na\\x1b[2Jb\\n  x\\ty\nc            raise: line\\nbreak"
      .. "\\x07\n", shown)
  end)

  it("writes nothing for no rows", function()
    assert.equal("", (written("table", {})))
  end)
end)
