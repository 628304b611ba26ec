-- SPDX-License-Identifier: MIT
local complete = require("fleet.repl.complete")

local methods = { close = function() end, state = 1 }
local env = {
  string = string, word = "x",
  http = { get = print, sha256 = print, ["not a name"] = 1, version = 1 },
  object = setmetatable({ own = print }, { __index = methods }),
  lazy = setmetatable({}, { __index = function() error("ran") end }),
  callable = { it = setmetatable({}, { __call = print }) },
}
env._G = env
env.self = setmetatable({}, env)
getmetatable(env.self).__index = env.self

local context = {
  env = env,
  commands = {
    nodes = false, time = true, help = false,
    on = function() return { "n1", "n2", "all", "local" } end,
  },
}

local function at(line, cursor)
  local words, start = complete.at(context, line, cursor or #line)
  return table.concat(words, " "), start
end

describe("complete.at", function()
  it("offers globals and keywords", function()
    assert.same({ "http", 0 }, { at("ht") })
    assert.same({ "else elseif end", 4 }, { at("x = e") })
    assert.same({ "word", 4 }, { at("f(2,wo") })
  end)

  it("offers fields that can be named, along a path", function()
    assert.same({ "get sha256 version", 5 }, { at("http.") })
    assert.same({ "get", 5 }, { at("http.g") })
    assert.same({ "sha256", 17 }, { at("print(_G._G.http.s") })
  end)

  it("offers only what can be called behind a colon, also of strings", function()
    assert.same({ "get sha256", 5 }, { at("http:") })
    assert.same({ "rep reverse", 5 }, { at("word:re") })
    assert.same({ "close own", 7 }, { at("object:") })
    assert.same({ "it", 9 }, { at("callable:") })
  end)

  it("looks where __index leads, and runs nothing", function()
    assert.same({ "close own state", 7 }, { at("object.") })
    assert.equal("", (at("lazy.")))
    assert.equal("", (at("lazy.a.b")))
    assert.equal("", (at("self."))) -- whose __index leads to itself
  end)

  it("completes at the cursor, not at the end", function()
    assert.same({ "http", 0 }, { at("ht + 1", 2) })
  end)

  it("offers nothing where nothing is known", function()
    for _, line in ipairs({
      "1.", "12", "f().", "a..w", "http..", "missing.", "http.get.x", "a:b.", "nope", ":nodes ",
      ":zz",
    }) do
      assert.equal("", (at(line)), line)
    end
  end)

  it("offers commands, what they take, and code behind those that take code", function()
    assert.same({ "help nodes on time", 1 }, { at(":") })
    assert.same({ "on", 3 }, { at("  :o") })
    assert.same({ "all local n1 n2", 4 }, { at(":on ") })
    assert.same({ "n1 n2", 4 }, { at(":on n") })
    assert.same({ "http", 6 }, { at(":time ht") })
  end)
end)

describe("complete.common", function()
  it("is the longest common beginning", function()
    assert.equal("re", complete.common({ "rep", "reverse" }))
    assert.equal("rep", complete.common({ "rep" }))
    assert.equal("", complete.common({ "a", "b" }))
  end)
end)
