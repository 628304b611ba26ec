-- SPDX-License-Identifier: MIT
-- docs/reference.md says of every public function what it takes and gives, and nothing of
-- functions that are not there.

local annotations = dofile("docs/annotations.lua")
local errors = require("fleet.errors")
local future = require("fleet.base.future")
local generate = dofile("docs/generate.lua")

local function by_key(entries)
  local set = {}
  for _, entry in ipairs(entries) do set[entry.key] = entry end
  return set
end

-- What has the functions of a page: a module, or the methods of futures.
local function table_of(page)
  if page.module then return require(page.module) end
  if page.title == "Futures" then return debug.getmetatable(future.new()).__index end
  return {}
end

local function parameter_names(f)
  local about, names = debug.getinfo(f, "uS"), {}
  if about.what == "C" then return nil end
  for i = 1, about.nparams do names[i] = debug.getlocal(f, i) end
  if about.isvararg then names[#names + 1] = "..." end
  if names[1] == "self" then table.remove(names, 1) end
  return names
end

local function documented_names(entry)
  local names = {}
  for i, param in ipairs(entry.params) do names[i] = param.name end
  return names
end

describe("the reference", function()
  for _, page in ipairs(generate.pages) do
    local entries = by_key(generate.entries(page))

    it("has every function of " .. page.title, function()
      local real = table_of(page)
      for key, value in pairs(real) do
        if type(value) == "function" and not key:find("^__") and not page.hidden[key] then
          local entry = entries[key]
          assert(entry, ("%s: %s has no comment in %s"):format(page.title, key, page.file))
          assert(entry.is_function and #entry.text > 0, entry.name .. " does not say what it does")
        end
      end
    end)

    it("has only what there is in " .. page.title, function()
      local real = table_of(page)
      for key, entry in pairs(entries) do
        assert(real[key] ~= nil, ("%s: %s does not exist"):format(entry.where, entry.name))
        assert.equal(type(real[key]) == "function", entry.is_function, entry.name)
      end
      for key in pairs(page.tables.Future and page.hidden or {}) do
        assert(real[key], "hidden, and not there: " .. key)
      end
    end)

    it("says what the functions of " .. page.title .. " take and give", function()
      local real = table_of(page)
      for key, entry in pairs(entries) do
        if entry.is_function then
          local names = parameter_names(real[key])
          if names then assert.same(names, documented_names(entry), entry.where) end
          if entry.gives then
            assert(#entry.returns > 0, ("%s: %s returns something"):format(entry.where, entry.name))
          end
        end
      end
    end)
  end

  it("has every kind of error", function()
    local listed = {}
    for _, row in ipairs(generate.kinds()) do listed[row.kind] = row.text end
    assert.same(errors.kinds, listed)
  end)

  it("has a row in docs/errors.md for every kind of error", function()
    local file = assert(io.open("docs/errors.md", "rb"))
    local text = file:read("a")
    file:close()
    local rows = {}
    for kind in text:gmatch("\n| `([%l_]+)` |") do rows[kind] = (rows[kind] or 0) + 1 end
    for kind in pairs(errors.kinds) do assert.equal(1, rows[kind], kind) end
    for kind in pairs(rows) do assert.is_string(errors.kinds[kind], kind) end
  end)

  it("is what docs/generate.lua writes", function()
    local file = assert(io.open("docs/reference.md", "rb"))
    local text = file:read("a")
    file:close()
    assert(generate.text() == text, "make docs writes it anew")
  end)
end)

describe("annotations", function()
  it("are read with unions, functions and tables in their types", function()
    local parsed = annotations.parse(table.concat({
      "-- SPDX-License-Identifier: MIT",
      "-- What it is.",
      "",
      "--- Does it.",
      "---   more",
      "---@param a string|nil first",
      "---@param f fun(x: any, n?: integer): boolean|nil, string what to call",
      "---@return table<string, any>|nil t or",
      "--- else",
      "---@return {a: string, [1]: any}[]?, fleet.Error|nil",
      "function m.f(a, f)",
      "  if a then return nil end",
      "end",
      "",
      "--- Is not one.",
      "function m.g()",
      "  local h = function() return 1 end",
      "  return",
      "end",
      "",
      "--- @class K: P",
      "--- @field x? integer number",
      "---   of it",
      "local K = {}",
    }, "\n"))
    assert.same({ "What it is." }, parsed.head)
    local f, g = parsed.definitions[1], parsed.definitions[2]
    assert.same({ "Does it.", "  more" }, f.block.text)
    assert.same({ "a", "f" }, f.signature)
    assert.equal("string|nil", f.block.params[1].type)
    assert.equal("fun(x: any, n?: integer): boolean|nil, string", f.block.params[2].type)
    assert.equal("what to call", f.block.params[2].text)
    assert.equal("t or else", f.block.returns[1].text)
    assert.equal("{a: string, [1]: any}[]?", f.block.returns[2].type)
    assert.equal("fleet.Error|nil", f.block.returns[3].type)
    assert.is_true(f.gives)
    assert.is_false(g.gives)
    assert.same({
      name = "K", parent = "P", text = {},
      fields = { { name = "x", type = "integer", text = "number of it", optional = true } },
    }, parsed.classes[1])
  end)

  it("that are wrong are refused with their line", function()
    local ok, why = pcall(annotations.parse, "---@parm x any\nfunction m.f(x) end")
    assert.is_false(ok)
    assert.equal("line 1: unknown tag @parm", why)
  end)

  it("give the parameters of a function type", function()
    local params, returns = annotations.function_type("fun(a: string, b?: integer|nil): boolean")
    assert.same({ "a", "b" }, { params[1].name, params[2].name })
    assert.same({ "string", "integer|nil" }, { params[1].type, params[2].type })
    assert.equal("boolean", returns[1].type)
    assert.is_nil((annotations.function_type("string")))
  end)
end)
