-- SPDX-License-Identifier: MIT
local text = require("fleet.base.text")

describe("text.escape", function()
  it("leaves printable text alone", function()
    for _, s in ipairs({ "", "plain ~!", "Grüße, 世界 🙂", "e\u{301}" }) do
      assert.equal(s, text.escape(s))
    end
  end)

  it("shows what a terminal would obey", function()
    assert.equal("a\\nb\\r\\t\\x00\\x1b[31m\\x7f", text.escape("a\nb\r\t\0\27[31m\127"))
    assert.equal("\\u{9b}31m", text.escape("\u{9b}31m"))
    assert.equal("\\u{202e}txt.exe", text.escape("\u{202e}txt.exe"))
  end)

  it("keeps lines and tabs of what somebody wrote", function()
    assert.equal("a\tb\nü\\x1b[31m\n", text.plain("a\tb\r\nü\27[31m\n"))
    assert.equal("\\u{9b}2J\\x7f\\xff\n\\rx", text.plain("\u{9b}2J\127\xff\n\rx"))
    assert.equal("a\tb\n", text.plain("a\tb\n"))
  end)

  it("shows bytes that are not UTF-8", function()
    assert.equal("\\xff", text.escape("\xff"))
    assert.equal("gr\\xfc\\xdfe", text.escape("gr\xfc\xdfe"))
    assert.equal("ü\\xc3", text.escape("ü\xc3"))
    assert.equal("\\xed\\xa0\\x80", text.escape("\xed\xa0\x80"))
  end)

  it("makes valid UTF-8 without controls of any bytes", function()
    math.randomseed(7)
    for _ = 1, 2000 do
      local bytes = {}
      for i = 1, math.random(0, 12) do bytes[i] = string.char(math.random(0, 255)) end
      local s = text.escape(table.concat(bytes))
      assert.is_truthy(utf8.len(s))
      assert.is_nil(s:find("%c"))
    end
  end)
end)

describe("text.width", function()
  it("counts columns, not bytes", function()
    assert.equal(0, text.width(""))
    assert.equal(5, text.width("Grüße"))
    assert.equal(4, text.width("世界"))
    assert.equal(2, text.width("🙂"))
    assert.equal(1, text.width("e\u{301}"))
  end)
end)

describe("text.fit", function()
  it("keeps what fits and shortens the middle of what does not", function()
    assert.equal("abcdef", text.fit("abcdef", 6))
    assert.equal("abc…ef", text.fit("abcdefghef", 6))
    assert.equal("a…", text.fit("abc", 2))
    assert.equal("…", text.fit("abc", 1))
    assert.equal("", text.fit("abc", 0))
  end)

  it("never cuts a character and never exceeds the width", function()
    local s = "a世b界🙂e\u{301}üxyz世世"
    for width = 0, 20 do
      local fitted = text.fit(s, width)
      assert.is_truthy(utf8.len(fitted))
      assert.is_true(text.width(fitted) <= width)
    end
  end)
end)

describe("text.pad", function()
  it("pads by columns on either side and never cuts", function()
    assert.equal("世  |", text.pad("世", 4) .. "|")
    assert.equal("  42", text.pad("42", 4, true))
    assert.equal("12345", text.pad("12345", 4))
  end)
end)

describe("text.wrap", function()
  it("breaks at spaces and leaves long words whole", function()
    assert.same({ "aa bb", "cc" }, text.wrap("aa bb cc", 5))
    assert.same({ "a", "bbbbbbbb", "c" }, text.wrap("a bbbbbbbb c", 4))
    assert.same({}, text.wrap("  ", 4))
  end)
end)

describe("text.columns", function()
  it("aligns by columns of the terminal without trailing spaces", function()
    local rows = { { "name", "n", "note" }, { "世", "10", "" }, { "b", "9", "x" } }
    assert.same({ "name   n  note", "世    10", "b      9  x" },
      text.columns(rows, { [2] = true }))
  end)
end)

describe("text.one_line", function()
  it("keeps the first line of a message", function()
    assert.equal("module 'x' not found", text.one_line("module 'x' not found:\n\tno file 'x'"))
    assert.equal("a\\tb", text.one_line("a\tb \r\nc"))
    assert.equal("", text.one_line("\n\nlate"))
  end)
end)

describe("text.quote", function()
  it("gives one short line whatever was typed", function()
    assert.equal("'a\\nb'", text.quote("a\nb"))
    assert.equal(62, text.width(text.quote(("x"):rep(1000))))
  end)
end)
