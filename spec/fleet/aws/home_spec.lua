-- SPDX-License-Identifier: MIT

local home = require("fleet.aws.home")

local FILES = {
  ["/proc/self/status"] = "Name:\tx\nUid:\t1000\t1000\t1000\t1000\n",
  ["/etc/passwd"] = "root:x:0:0:root:/srv/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\n",
}

local function expand(path, env)
  return home.expand(path, function(name) return env[name] end,
    function(name) return FILES[name] end)
end

describe("home.expand", function()
  it("replaces variables, as a shell would have", function()
    local env = { HOME = "/h", A_1 = "x", EMPTY = "" }
    for path, wanted in pairs({
      ["$HOME/c"] = "/h/c", ["${HOME}/c"] = "/h/c", ["/a/$A_1.b"] = "/a/x.b", ["$A_1b"] = "$A_1b",
      ["/${EMPTY}x"] = "/x", ["/$NONE/${NONE}"] = "/$NONE/${NONE}", ["/a$"] = "/a$", ["/a"] = "/a",
      ["a~/b"] = "a~/b",
    }) do
      assert.equal(wanted, expand(path, env))
    end
  end)

  it("replaces ~ by HOME, or else by the account's folder", function()
    assert.equal("/h/c", expand("~/c", { HOME = "/h/" }))
    assert.equal("/h", expand("~", { HOME = "/h" }))
    assert.equal("/c", expand("~/c", { HOME = "/" }))
    assert.equal("/home/me/c", expand("~/c", {}))
    assert.equal("/home/me/c", expand("~/c", { HOME = "" }))
    assert.equal("/srv/root/c", expand("~root/c", { HOME = "/h" }))
    assert.equal("~nobody-here/c", expand("~nobody-here/c", { HOME = "/h" }))
  end)

  it("has nothing where nobody has a home", function()
    local function none() return nil end
    assert.is_nil(home.expand("~/c", none, none))
    assert.equal("/c", home.expand("/c", none, none))
  end)
end)
