-- SPDX-License-Identifier: MIT
local form = require("fleet.httpd.form")

local function multipart(parts)
  local out = {}
  for i, part in ipairs(parts) do out[i] = "--xyz\r\n" .. part .. "\r\n" end
  return table.concat(out) .. "--xyz--\r\n"
end

local TYPE = 'multipart/form-data; boundary="xyz"'

describe("httpd.form", function()
  it("reads fields", function()
    assert.same({ a = "1 2", ["b&"] = "=%", c = "", ["ä"] = "\n" },
      form.decode("a=1+2&b%26=%3d%25&c&%C3%A4=%0A"))
    assert.same({}, form.decode(""))
    assert.same({ a = "2" }, form.decode("a=1&a=2"))
    assert.is_nil(form.decode("a=%"))
    assert.is_nil(form.decode("a=%zz"))
    assert.is_nil(form.decode(("a&"):rep(1001)))
  end)

  it("decodes paths, but no control characters", function()
    assert.equal("/a b", form.percent_decoded("/a%20b"))
    assert.is_nil(form.percent_decoded("/a%0d"))
    assert.is_nil(form.percent_decoded("/a%00"))
    assert.is_nil(form.percent_decoded("/a%2"))
  end)

  it("reads forms with files", function()
    local body = multipart({
      'Content-Disposition: form-data; name="urls"\r\n\r\nhttp://a/\r\nhttp://b/',
      'content-disposition: form-data; name="file"; filename="u.txt"\r\n'
        .. "Content-Type: text/plain\r\n\r\n--xy\0z\r\n--other\r\n",
    })
    assert.same({
      fields = { urls = "http://a/\r\nhttp://b/" },
      files = { file = { name = "u.txt", bytes = "--xy\0z\r\n--other\r\n" } },
    }, form.read(TYPE, body))
  end)

  it("refuses what is no form", function()
    local good = multipart({ 'Content-Disposition: form-data; name="a"\r\n\r\nb' })
    assert.is_table(form.read(TYPE, good))
    for _, body in ipairs({ "", "--xyz", good:sub(1, -5), "x" .. good,
      good:gsub("xyz", "xyy"),
      multipart({ "no disposition\r\n\r\nb" }),
      multipart({ "Content-Disposition: form-data" }) }) do
      assert.same({ nil, "The form is malformed." }, { form.read(TYPE, body) })
    end
    assert.equal("A form is expected.", select(2, form.read("application/json", "{}")))
    assert.equal("The form is malformed.", select(2, form.read("multipart/form-data", good)))
    assert.equal("The form is malformed.",
      select(2, form.read("application/x-www-form-urlencoded", "%")))
  end)
end)
