-- SPDX-License-Identifier: MIT

local query = require("fleet.aws.query")

describe("query.encode", function()
  it("escapes exactly what is to be escaped", function()
    local all = {}
    for i = 0, 255 do all[#all + 1] = string.char(i) end
    local text = query.encode({ a = table.concat(all) })
    assert.equal("a=", text:sub(1, 2))
    for c, escaped in pairs({ [" "] = "+", ["~"] = "~", ["*"] = "%2A", ["/"] = "%2F", ["+"] = "%2B",
      ["%"] = "%25", ["\n"] = "%0A", ["\0"] = "%00", ["é"] = "%C3%A9", ["a-Z_0.9"] = "a-Z_0.9" }) do
      assert.equal("a=" .. escaped, query.encode({ a = c }))
    end
    assert.not_matches("%%%x?%l", text)
  end)

  it("sorts names and takes numbers and flags", function()
    assert.equal("Filter.1.Name=tag%3Ax%3Ay&MaxResults=1000&a=true",
      query.encode({ MaxResults = 1000, ["Filter.1.Name"] = "tag:x:y", a = true }))
  end)
end)
