-- SPDX-License-Identifier: MIT
local upload = require("fleet.web.upload")

describe("web.upload", function()
  local function items(text, file)
    return upload.items({ fields = { field = text }, files = { file = file } }, "field")
  end

  it("takes lines, without blanks and comments", function()
    assert.same({ "a", "b c", "d" }, items("a\r\n\n  b c \n# no\nd"))
    assert.same({}, items(""))
    assert.same({}, items(nil))
  end)

  it("prefers the file, and knows its name", function()
    assert.same({ { "x" }, "u.txt" }, { items("a", { name = "u.txt", bytes = "\u{feff}x\n" }) })
    assert.same({ "a" }, (items("a", { name = "", bytes = "" })))
  end)

  it("refuses what are no lines", function()
    assert.matches("A line has 9000 bytes", select(2, items(("x"):rep(9000))))
    assert.matches("The file cannot be read: .*UTF%-16",
      select(2, items("a", { name = "u", bytes = "\xff\xfea\0" })))
  end)
end)
