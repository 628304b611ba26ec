-- SPDX-License-Identifier: MIT
local html = require("fleet.web.html")

describe("html", function()
  it("shows whatever is put into it as text", function()
    assert.equal("&lt;b title=&quot;x&#39;&quot;&gt;&amp;amp;",
      html.escape("<b title=\"x'\">&amp;"))
    assert.equal("a\\nb\\x00\\xff", html.escape("a\nb\0\xff"))
    assert.equal("\\u{202e}x", html.escape("\u{202e}x"))
    assert.equal("5", html.escape(5))
  end)

  it("fills templates once, so that a value cannot name a field", function()
    local filled = html.fill("<i>{a}</i>{b}", { a = "{b}<", b = html.raw("<hr>") })
    assert.equal("<i>{b}&lt;</i><hr>", filled.text)
    assert.equal("{b}&lt; %1", html.fill("{a}", { a = "{b}< %1" }).text)
    assert.has_error(function() html.fill("{missing}", {}) end)
  end)

  it("joins pieces", function()
    assert.equal("<br>\n&lt;br&gt;", html.join({ html.raw("<br>"), "<br>" }).text)
  end)
end)
