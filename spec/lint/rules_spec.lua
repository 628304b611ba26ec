-- SPDX-License-Identifier: MIT
-- Gives the rules small trees, and expects every rule to report its lines and no others.

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
      ["host/event/loop.h"] = C .. '#include "base/err.h"\n',
      ["host/base/err.h"] = C,
      ["host/bindings/lib_http.c"] = C .. '#include "net/http.h"\n#include <lua.h>\n',
      ["host/net/http.h"] = C .. '#include "event/loop.h"\n',
      ["host/net/http.c"] = C .. '#include "net/http.h"\n#include <curl/curl.h>\n',
      ["host/wrap/xml.h"] = C,
      ["host/wrap/xml_internal.h"] = C .. '#include "wrap/xml.h"\n',
      ["host/wrap/xml.c"] = C .. '#include "wrap/xml_internal.h"\n',
      ["host/main.c"] = C .. '#include "net/http.h"\nvoid f(void)\n{\n  exit(1);\n}\n',
      ["host/lua/task.c"] = C .. "  lua_resume(L);\n  assert(a == b && c <= d);\n",
      ["lua/fleet/json.lua"] = LUA .. 'require("fleet.base.x")\n-- require("fleet.cli")\n',
      ["lua/fleet/base/x.lua"] = LUA .. 'require("fleet.errors")\nrequire("host.json")\n',
      ["lua/fleet/errors.lua"] = LUA,
      ["spec/fleet/json_spec.lua"] = LUA,
      ["spec/fleet/base/x_spec.lua"] = LUA,
      ["spec/fleet/errors_spec.lua"] = LUA,
      ["scripts/x.lua"] = ("x()\n"):rep(40),
      ["README.md"] = "from work to /workers in http://host/work\n",
    }))
  end)

  it("know every folder, and want it named", function()
    assert.same({ "host/base/buf.c:2 folder", "host/new.c:1 folder", "host/new/x.c:1 folder" },
      check({ ["host/new.c"] = C, ["host/new/x.c"] = C,
        ["host/base/buf.c"] = C .. '#include "err.h"\n' }))
  end)

  it("let includes go down only, and not to the side", function()
    assert.same({ "host/driver/driver.c:2 folder", "host/event/loop.c:3 folder" }, check({
      ["host/event/loop.c"] = C .. '#include "base/err.h"\n  #  include "lua/vm.h"\n',
      ["host/driver/driver.c"] = C .. '#include "node/serve.h"\n#include "lua/vm.h"\n',
      ["host/base/err.h"] = C,
      ["host/lua/vm.h"] = C,
      ["host/node/serve.h"] = C,
    }))
  end)

  it("let modules of the library require those below only", function()
    assert.same({ "lua/fleet/base/x.lua:2 folder", "lua/fleet/ship/init.lua:2 folder" }, check({
      ["lua/fleet/base/x.lua"] = LUA .. 'local ship = require "fleet.ship"\n',
      ["lua/fleet/ship/init.lua"] = LUA .. "local sandbox = require('fleet.worker.sandbox')\n",
      ["lua/fleet/worker/sandbox.lua"] = LUA,
      ["spec/fleet/base/x_spec.lua"] = LUA,
      ["spec/fleet/ship/init_spec.lua"] = LUA,
      ["spec/fleet/worker/sandbox_spec.lua"] = LUA,
    }))
  end)

  it("want no circle of units, nor of modules", function()
    assert.same({ "host/net/b.h:2 circle", "lua/fleet/base/y.lua:2 circle" }, check({
      ["host/net/a.c"] = C .. '#include "net/a.h"\n#include "net/b.h"\n',
      ["host/net/a.h"] = C,
      ["host/net/b.h"] = C .. '#include "net/a.h"\n',
      ["lua/fleet/base/x.lua"] = LUA .. 'require("fleet.base.y")\n',
      ["lua/fleet/base/y.lua"] = LUA .. 'require("fleet.base.x")\n',
      ["spec/fleet/base/x_spec.lua"] = LUA,
      ["spec/fleet/base/y_spec.lua"] = LUA,
    }))
  end)

  it("want names of sources once", function()
    assert.same({ "host/worker/x.c:1 name" }, check({
      ["host/driver/x.c"] = C, ["host/worker/x.c"] = C, ["host/worker/x.h"] = C,
      ["host/driver/x.h"] = C,
    }))
  end)

  it("keep lua.h and network headers apart, also through own headers", function()
    assert.same({ "host/bindings/lib_x.c:3 mixed", "host/lua/vm.c:3 mixed" }, check({
      ["host/lua/vm.c"] = C .. "#include <curl/curl.h>\n#include <lauxlib.h>\n",
      ["host/bindings/lib_x.c"] = C .. '#include "bindings/lib.h"\n#include "wrap/xml.h"\n',
      ["host/bindings/lib.h"] = C .. "#include <lua.h>\n",
      ["host/wrap/xml.h"] = C .. "#include <openssl/ssl.h>\n",
    }))
  end)

  it("keep calls in their place", function()
    assert.same({
      "host/net/http.c:2 place", "host/net/http.c:3 place", "host/net/http.c:4 place",
      "host/net/http.c:5 place", "host/net/http.c:6 place", "host/node/serve.c:2 place",
    }, check({
      ["host/net/http.c"] = C .. "lua_resume(L);\nlua_yieldk (L);\nx = lua_pcall(L);\n"
        .. "realloc(p, 1);\n_exit(1);\n",
      ["host/node/serve.c"] = C .. "exit(0);\n",
      ["host/base/buf.c"] = C .. "realloc(p, 1);\n",
      ["host/lua/vm.c"] = C .. "lua_pcall(L);\n",
    }))
  end)

  it("keep metatables of the host in one place, and userdata checked", function()
    assert.same({ "host/bindings/lib_x.c:2 place", "host/bindings/lib_x.c:3 place",
      "host/bindings/lib_x.c:4 place",
      "host/bindings/lib_x.c:5 place", "host/lua/vm.c:3 place" }, check({
      ["host/bindings/lib_x.c"] = C .. "b = lua_touserdata(L, 1);\nluaL_newmetatable(L, X);\n"
        .. "luaL_setmetatable(L, X);\nlua_setmetatable(L, -2);\nb = luaL_checkudata(L, 1, X);\n",
      ["host/lua/vm.c"] = C .. "lua_touserdata(L, 1);\nlua_setmetatable(L, -2);\n",
      ["host/lua/class.c"] = C .. "luaL_newmetatable(L, X);\nluaL_setmetatable(L, X);\n",
    }))
  end)

  it("ban calls, but not in comments, strings and longer names", function()
    assert.same({ "bench/x.c:1 banned", "host/base/buf.c:6 banned",
      "host/base/buf.c:7 banned" }, check({
      ["bench/x.c"] = "atoi(s);\n",
      ["host/base/buf.c"] = C .. "/* strcpy(a, b)\n strcat(a, b) */\n"
        .. '"sprintf(\\" system(x)"; // gets(s)\n'
        .. "gmtime_r(a, b); '\"'; my_system(1);\nstrcpy(a, b); '\"';\nx = strerror(errno);\n",
    }))
  end)

  it("want asserts without side effects", function()
    assert.same({ "host/base/buf.c:2 assert", "host/base/buf.c:3 assert" }, check({
      ["host/base/buf.c"] = C .. "assert(i++ < 3);\nassert((x = f()));\nassert(x >= 1);\n",
    }))
  end)

  it("limit files, scripts and functions", function()
    assert.same({
      "bench/x.lua:801 size", "host/base/buf.c:3 size", "lua/fleet/base/x.lua:601 size",
      "scripts/x.lua:41 size",
    }, check({
      ["host/base/buf.c"] = C .. "int f(void)\n{\n" .. ("  g();\n"):rep(61) .. "}\n",
      ["host/base/err.c"] = C .. "int f(void)\n{\n" .. ("  g();\n"):rep(60) .. "}\n",
      ["bench/x.lua"] = ("x()\n"):rep(801),
      ["lua/fleet/base/x.lua"] = LUA .. ("x()\n"):rep(600),
      ["spec/fleet/base/x_spec.lua"] = LUA .. ("x()\n"):rep(798) .. "x()",
      ["scripts/x.lua"] = ("x()\n"):rep(41),
    }))
  end)

  it("know no machine's folders", function()
    assert.same({ "README.md:2 path", "docs/a.md:1 path" }, check({
      ["README.md"] = "fine\ncd /" .. "work\n",
      ["docs/a.md"] = "`/" .. "root/.ssh`\n",
    }))
  end)

  it("know words of our own, in names of code only or everywhere, and phrases", function()
    local names = "/* a choke, as English has it */\nint choke_all, chokes;\nx = \"choke\";\n"
    assert.same({
      "README.md:2 phrase", "docs/a.md:1 phrase", "docs/a.md:2 word", "host/base/choke.h:1 word",
      "host/base/err.c:3 word", "lua/fleet/base/x.lua:2 word", "lua/fleet/base/x.lua:3 phrase",
      "lua/fleet/base/x.lua:4 word",
    }, check({
      ["README.md"] = "the list, whoever may have it\nWho asks is told.\n",
      ["docs/a.md"] = "(not given: 10)\nInnocents of `choke`\n",
      ["docs/meta/a.lua"] = "-- who asks\n",
      ["host/base/choke.h"] = C,
      ["host/base/err.c"] = C .. names,
      ["lua/fleet/base/x.lua"] = LUA .. "local s, choke = 'a \\' choke'\n-- it is told\n"
        .. "f(\"innocents\") -- choke\n",
      ["spec/fleet/base/x_spec.lua"] = LUA .. "choke()\n",
    }))
  end)

  it("want a licence line and a spec for each module", function()
    assert.same({ "host/base/err.h:1 license", "lua/fleet/base/x.lua:1 license",
      "lua/fleet/base/x.lua:1 spec" },
      check({ ["host/base/err.h"] = "int x;\n", ["lua/fleet/base/x.lua"] = "return {}\n" }))
  end)
end)
