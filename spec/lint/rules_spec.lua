-- SPDX-License-Identifier: MIT
-- Feeds the rules one bad tree and expects every rule to fire at its line, and only there.

local rules = dofile("spec/lint/rules.lua")

local C = "/* SPDX-License-Identifier: MIT */\n"
local LUA = "-- SPDX-License-Identifier: MIT\n"

describe("the rules of the source tree", function()
  local root

  before_each(function()
    root = os.tmpname()
    os.remove(root)
  end)

  after_each(function()
    os.execute("rm -rf '" .. root .. "'")
  end)

  --- Writes files {path = text} and returns what the rules find: "file:line rule" each.
  local function check(tree)
    local paths, found = {}, {}
    for path, text in pairs(tree) do
      assert(os.execute(("mkdir -p '%s/%s'"):format(root, path:match("^(.*)/") or ".")))
      local file = assert(io.open(root .. "/" .. path, "wb"))
      file:write(text)
      file:close()
      paths[#paths + 1] = path
    end
    table.sort(paths)
    for i, v in ipairs(rules.check(root, paths)) do
      assert.is_true(#v.text > 0 and #v.advice > 0)
      found[i] = ("%s:%d %s"):format(v.file, v.line, v.rule)
    end
    table.sort(found)
    return found
  end

  it("accept a tree that keeps them", function()
    assert.same({}, check({
      ["host/loop.h"] = C .. '#include "err.h"\n',
      ["host/err.h"] = C,
      ["host/lib_http.c"] = C .. '#include "http.h"\n#include <lua.h>\n',
      ["host/http.h"] = C .. '#include "loop.h"\n',
      ["host/http.c"] = C .. '#include "http.h"\n#include <curl/curl.h>\n',
      ["host/main.c"] = C .. "void f(void)\n{\n  exit(1);\n}\n",
      ["host/task.c"] = C .. "  lua_resume(L);\n  assert(a == b && c <= d);\n",
      ["lua/fleet/x.lua"] = LUA,
      ["lua/fleet/types/host.lua"] = LUA .. "---@meta\n",
      ["spec/fleet/x_spec.lua"] = LUA,
      ["scripts/x.lua"] = ("x()\n"):rep(40),
      ["README.md"] = "from work to /workers in http://host/work\n",
    }))
  end)

  it("know every file's layer", function()
    assert.same({ "host/new.c:1 layer" }, check({ ["host/new.c"] = C }))
  end)

  it("let includes go down only", function()
    assert.same({ "host/loop.c:3 layer" }, check({
      ["host/loop.c"] = C .. '#include "err.h"\n  #  include "vm.h"\n',
      ["host/err.h"] = C,
      ["host/vm.h"] = C,
    }))
  end)

  it("keep lua.h and network headers apart, also through own headers", function()
    assert.same({ "host/lib_x.c:3 mixed", "host/vm.c:3 mixed" }, check({
      ["host/vm.c"] = C .. "#include <curl/curl.h>\n#include <lauxlib.h>\n",
      ["host/lib_x.c"] = C .. '#include "lib.h"\n#include "xml.h"\n',
      ["host/lib.h"] = C .. "#include <lua.h>\n",
      ["host/xml.h"] = C .. "#include <openssl/ssl.h>\n",
    }))
  end)

  it("keep calls in their place", function()
    assert.same({
      "host/http.c:2 place", "host/http.c:3 place", "host/http.c:4 place",
      "host/http.c:5 place", "host/http.c:6 place", "host/serve.c:2 place",
    }, check({
      ["host/http.c"] = C .. "lua_resume(L);\nlua_yieldk (L);\nx = lua_pcall(L);\n"
        .. "realloc(p, 1);\n_exit(1);\n",
      ["host/serve.c"] = C .. "exit(0);\n",
      ["host/buf.c"] = C .. "realloc(p, 1);\n",
      ["host/vm.c"] = C .. "lua_pcall(L);\n",
    }))
  end)

  it("keep metatables of the host in one place, and userdata checked", function()
    assert.same({ "host/lib_x.c:2 place", "host/lib_x.c:3 place", "host/lib_x.c:4 place",
      "host/lib_x.c:5 place", "host/vm.c:3 place" }, check({
      ["host/lib_x.c"] = C .. "b = lua_touserdata(L, 1);\nluaL_newmetatable(L, X);\n"
        .. "luaL_setmetatable(L, X);\nlua_setmetatable(L, -2);\nb = luaL_checkudata(L, 1, X);\n",
      ["host/vm.c"] = C .. "lua_touserdata(L, 1);\nlua_setmetatable(L, -2);\n",
      ["host/class.c"] = C .. "luaL_newmetatable(L, X);\nluaL_setmetatable(L, X);\n",
    }))
  end)

  it("ban calls, but not in comments, strings and longer names", function()
    assert.same({ "bench/x.c:1 banned", "host/buf.c:6 banned", "host/buf.c:7 banned" }, check({
      ["bench/x.c"] = "atoi(s);\n",
      ["host/buf.c"] = C .. "/* strcpy(a, b)\n strcat(a, b) */\n"
        .. '"sprintf(\\" system(x)"; // gets(s)\n'
        .. "gmtime_r(a, b); '\"'; my_system(1);\nstrcpy(a, b); '\"';\nx = strerror(errno);\n",
    }))
  end)

  it("want asserts without side effects", function()
    assert.same({ "host/buf.c:2 assert", "host/buf.c:3 assert" }, check({
      ["host/buf.c"] = C .. "assert(i++ < 3);\nassert((x = f()));\nassert(x >= 1);\n",
    }))
  end)

  it("limit files, scripts and functions", function()
    assert.same({
      "host/buf.c:3 size", "lua/fleet/x.lua:801 size", "scripts/x.lua:41 size",
    }, check({
      ["host/buf.c"] = C .. "int f(void)\n{\n" .. ("  g();\n"):rep(61) .. "}\n",
      ["host/err.c"] = C .. "int f(void)\n{\n" .. ("  g();\n"):rep(60) .. "}\n",
      ["lua/fleet/x.lua"] = LUA .. ("x()\n"):rep(800),
      ["spec/fleet/x_spec.lua"] = LUA .. ("x()\n"):rep(798) .. "x()",
      ["scripts/x.lua"] = ("x()\n"):rep(41),
    }))
  end)

  it("know no machine's folders", function()
    assert.same({ "README.md:2 path", "docs/a.md:1 path", "docs/a.md:2 path" }, check({
      ["README.md"] = "fine\ncd /" .. "work\n",
      ["docs/a.md"] = "`/" .. "root/.ssh`\n\"/" .. "tmp/wt/x\"\n",
    }))
  end)

  it("want a licence line and a spec for each module", function()
    assert.same({ "host/err.h:1 license", "lua/fleet/x.lua:1 license", "lua/fleet/x.lua:1 spec" },
      check({ ["host/err.h"] = "int x;\n", ["lua/fleet/x.lua"] = "return {}\n" }))
  end)
end)
