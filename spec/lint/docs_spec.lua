-- SPDX-License-Identifier: MIT
-- Feeds the checks of the documents what is right and what is wrong.

local docs = dofile("spec/lint/docs.lua")

local C = [[
enum { MAX_DEPTH = 100, MAX_WIDTH = 200 };
enum {
  MAX_VALUE = 64 * 1024 * 1024, /* of one */
  MAX_FRAME = MAX_VALUE + 1024 * 1024,
  STALL_MS = 30000,
  SHIFTED = 1 << 20,
};
#define GRACE (2 * LOOP_S) /* then SIGKILL */
#define SLICE (5 * LOOP_MS)
#define OVERDUE (2 * OTHER_HOLD * LOOP_S)
  lua_Integer n = luaL_optinteger(L, 2, 17);
]]
local LUA = [[
local FIRST, LAST = 0.5, 10 -- seconds
link.TIMES = {
  heartbeat = 1,
  dead_after = 15, -- then
}
self.retries = opts.retries or 2
local PART = 1 / 4
]]

describe("the checks of the documents", function()
  local files

  before_each(function()
    files = {
      ["host/a.c"] = C, ["host/other.h"] = "enum { OTHER_HOLD = 5 };\n", ["lua/b.lua"] = LUA,
      ["spec/x_spec.lua"] = "",
    }
  end)

  local function tree()
    return {
      exists = function(path) return files[path] ~= nil end,
      read = function(path) return files[path] end,
      headers = function() return { "host/other.h" } end,
    }
  end

  local function check(path, text)
    files[path] = text
    local found = {}
    for i, v in ipairs(docs.check({ path }, tree())) do
      found[i] = ("%d %s: %s"):format(v.line, v.rule, v.text)
    end
    return found
  end

  it("know what GitHub calls a heading", function()
    assert.equal("what-travels-and-what-does-not", docs.anchor("What travels, and what does not"))
    assert.equal("fleetpmap", docs.anchor("fleet.pmap"))
    assert.equal("a-b_c", docs.anchor("`a` b_c"):gsub("%-%-", "-"))
  end)

  it("accept links and paths that lead somewhere", function()
    files["docs/other.md"] = "# One\n\n## Two words\n\n## One\n"
    assert.same({}, check("docs/guide.md", table.concat({
      "# Here", "", "[a](other.md) [b](other.md#two-words) [c](#here) [d](other.md#one-1)",
      "[e](../lua/b.lua) [f](https://example.org/x) `spec/x_spec.lua` `lua/b.lua`",
      "```lua", "-- [g](nowhere.md) `spec/none.lua`", "```",
    }, "\n")))
  end)

  it("find links and paths that do not", function()
    files["docs/other.md"] = "# One\n```\n# Two\n```\n"
    assert.same({
      "1 link: there is no docs/none.md", "2 link: there is no heading #two in docs/other.md",
      "3 path: there is no spec/none_spec.lua", "4 link: there is no heading #x in README.md",
    }, check("README.md",
      "[a](docs/none.md)\n[b](docs/other.md#two)\n`spec/none_spec.lua`\n[c](#x)"))
  end)

  local function row(value, file, source)
    return check("docs/limits.md", ("| limit | number | set in |\n|---|---|---|\n"
      .. "| this | %s | `%s` `%s` |"):format(value, file, source))
  end

  it("accept limits that are what the sources say", function()
    for _, limit in ipairs({
      { "100 levels", "host/a.c", "MAX_DEPTH" }, { "200", "host/a.c", "MAX_WIDTH" },
      { "64 MiB", "host/a.c", "MAX_VALUE" },
      { "65 MiB", "host/a.c", "MAX_FRAME" }, { "30 s", "host/a.c", "STALL_MS" },
      { "1 MiB", "host/a.c", "SHIFTED" }, { "2 s", "host/a.c", "GRACE" },
      { "5 ms", "host/a.c", "SLICE" }, { "10 s", "host/a.c", "OVERDUE" },
      { "17", "host/a.c", "luaL_optinteger(L, 2, 17)" },
      { "0.5 s, then more", "lua/b.lua", "FIRST" }, { "10 s", "lua/b.lua", "LAST" },
      { "1 s", "lua/b.lua", "heartbeat" }, { "15 s", "lua/b.lua", "dead_after" },
      { "2", "lua/b.lua", "opts.retries or 2" }, { "25 %", "lua/b.lua", "PART" },
    }) do
      assert.same({}, row(table.unpack(limit)))
    end
  end)

  it("find limits that are not", function()
    for _, limit in ipairs({
      { "101 levels", "host/a.c", "MAX_DEPTH", "it is 100 by MAX_DEPTH of host/a.c" },
      { "64 KiB", "host/a.c", "MAX_VALUE", "not 64 KiB" },
      { "many", "host/a.c", "MAX_VALUE", "does not begin with a number" },
      { "1", "host/b.c", "MAX_VALUE", "there is no host/b.c" },
      { "1", "host/a.c", "MAX_OTHER", "is no number that can be read" },
      { "3", "lua/b.lua", "opts.retries or 2", "does not hold the number 3" },
      { "3", "lua/b.lua", "opts.retries or 3", "does not stand in lua/b.lua" },
    }) do
      local found = row(table.unpack(limit, 1, 3))
      assert.matches(limit[4], table.concat(found, "\n"), 1, true)
    end
    local SHAPE = "1 limit: the row is not | what | number | `file` `NAME` |"
    assert.same({ SHAPE,
      "1 limit: no limit was found in it" }, check("docs/limits.md", "| this | 5 | somewhere |"))
  end)
end)
