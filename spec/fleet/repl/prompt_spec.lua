-- SPDX-License-Identifier: MIT
-- Keys and what they do, over an editor of this spec; the real one is in
-- spec/e2e/terminal_repl_spec.lua.

local history = require("fleet.repl.history")
local prompt = require("fleet.repl.prompt")

local PASTE = {}

--- An editor that knows characters, Ctrl-A, Ctrl-D and backspace.
local function fake_editor(keys)
  local e = { line = "", cursor = 0, printed = {}, prompts = {}, fed = {}, at = 0 }
  function e:start(p)
    e.line, e.cursor, e.active = "", 0, true
    e.prompts[#e.prompts + 1] = p
    return true
  end
  function e:stop() e.active = false end
  function e:key()
    e.at = e.at + 1
    local key = keys[e.at]
    if type(key) == "table" and key[1] == PASTE then return key[2], true end
    if type(key) == "function" then
      key(e)
      return e:key()
    end
    return key, false
  end
  function e:feed(key)
    e.fed[#e.fed + 1] = key
    if key == "\1" then
      e.cursor = 0
    elseif key == "\4" then
      e.line = e.line:sub(1, e.cursor) .. e.line:sub(e.cursor + 2)
    elseif not key:find("%c") then
      e.line = e.line:sub(1, e.cursor) .. key .. e.line:sub(e.cursor + 1)
      e.cursor = e.cursor + #key
    end
  end
  function e:text() return e.line, e.cursor end
  function e:set(line, cursor) e.line, e.cursor = line, cursor or #line end
  function e:prompt(p) e.prompts[#e.prompts + 1] = p end
  function e:print(s) e.printed[#e.printed + 1] = s end
  function e:suspend() e.suspended = true end
  return e
end

local function chars(s)
  local list = {}
  for c in s:gmatch(utf8.charpattern) do list[#list + 1] = c end
  return list
end

local function typed(...)
  local keys = {}
  for _, part in ipairs({ ... }) do
    if type(part) == "string" and part:find("^%C") then
      for _, c in ipairs(chars(part)) do keys[#keys + 1] = c end
    else
      keys[#keys + 1] = part
    end
  end
  return keys
end

local UP, DOWN, ENTER, TAB, SEARCH = "\27[A", "\27OB", "\r", "\t", "\18"

describe("prompt", function()
  local past, editor
  before_each(function()
    past = history.open(nil)
    past:add("first")
    past:add("for i = 1, 2 do\n  f(i)\nend")
    past:add("last")
  end)

  local function read(keys, complete)
    editor = fake_editor(keys)
    return prompt.new(editor, { history = past, complete = complete }):read("> ")
  end

  it("gives the line at Enter, Ctrl-D its end, Ctrl-C an interrupt", function()
    assert.equal("grüß", read(typed("grüß", ENTER)))
    assert.is_false(editor.active)
    assert.same({ nil, "eof" }, { read({ "\4" }) })
    assert.same({ nil, "interrupt" }, { read(typed("abc", "\3")) })
    assert.equal("abc^C", editor.line) -- what is left on the screen
    assert.same({ nil, "eof" }, { read({}) }) -- the terminal is gone
  end)

  it("deletes with Ctrl-D and the delete key, which never end", function()
    assert.equal("bc", read(typed("abc", "\1", "\4", ENTER)))
    assert.equal("bc", read(typed("abc", "\1", "\27[3~", ENTER)))
    assert.equal("x", read(typed("\27[3~", "x", ENTER)))
  end)

  it("translates the keys of terminals and drops what it does not know", function()
    read(typed("\27[H", "\27[1~", "\27[C", "\27[1;5D", "\27[24~", "\27", "\28", "\22", "\8", ENTER))
    assert.same({ "\1", "\1", "\6", "\27b", "\127" }, editor.fed)
  end)

  it("goes through the history, back to what was typed", function()
    assert.equal("last", read(typed("dra", UP, ENTER)))
    assert.equal("first", read({ UP, UP, UP, UP, UP, UP, ENTER }))
    assert.equal("draft", read(typed("dra", UP, UP, DOWN, DOWN, DOWN, DOWN, "ft", ENTER)))
  end)

  it("goes up and down in an entry of several lines first", function()
    local seen = {}
    local function look(e) seen[#seen + 1] = { e.line:match("^%S+"), e.cursor } end
    read({ UP, UP, look, UP, look, UP, look, UP, look, DOWN, look, ENTER })
    assert.same({ { "for", 26 }, { "for", 19 }, { "for", 3 }, { "first", 5 }, { "for", 26 } }, seen)
  end)

  it("inserts what was pasted as it is, but for what a terminal would obey", function()
    assert.equal("a\n\tb = 'ü'", read({ "x", "\1", { PASTE, "a\r\n\tb = 'ü'\27\3\r\r" },
      function(e) e:set(e.line:sub(1, -2)) end, ENTER }))
  end)

  it("begins another line at Alt-Enter", function()
    assert.equal("a\nb", read(typed("a", "\27\r", "b", ENTER)))
  end)

  it("completes a word as far as it is clear, then lists", function()
    local words = { "reader", "reading" }
    local function complete(line, cursor)
      assert.equal("x = re", line:sub(1, 6))
      return words, cursor - #line:sub(1, cursor):match("%a*$")
    end
    assert.equal("x = read", read(typed("x = re", TAB, ENTER), complete))
    assert.same({}, editor.printed)
    assert.equal("x = read", read(typed("x = re", TAB, TAB, ENTER), complete))
    assert.same({ "reader  reading\n" }, editor.printed)
    words = { "ready" }
    assert.equal("x = ready + 1", read(typed("x = re + 1", function(e) e.cursor = 6 end, TAB,
      ENTER), complete))
    words = {}
    assert.equal("x = re", read(typed("x = re", TAB, ENTER), complete))
  end)

  it("lists so many words at most", function()
    local words = {}
    for i = 1, 300 do words[i] = ("w%03d"):format(i) end
    read(typed("w", TAB, ENTER), function() return words, 0 end)
    assert.matches("w200.*\n%.%.%. 100 more\n$", editor.printed[1])
    assert.is_nil(editor.printed[1]:find("w201"))
  end)

  it("indents where nothing stands before the cursor", function()
    assert.equal("  x", read(typed(TAB, "x", ENTER), error))
  end)

  it("searches backwards as it is typed", function()
    assert.equal("for i = 1, 2 do\n  f(i)\nend", read(typed(SEARCH, "f(", ENTER)))
    assert.equal("(search) 'f(': ", editor.prompts[#editor.prompts - 1])
    assert.equal("> ", editor.prompts[#editor.prompts])
    assert.equal("first", read(typed(SEARCH, "f", SEARCH, ENTER)))
    assert.equal("first", read(typed(SEARCH, "fi", SEARCH, ENTER)))
    assert.equal("last", read(typed(SEARCH, "fi", "\127", "\127", "la", ENTER)))
  end)

  it("says when nothing is found, and gives back what was there", function()
    assert.equal("draft", read(typed("draft", SEARCH, "zzz", function(e)
      assert.equal("(not found) 'zzz': ", e.prompts[#e.prompts])
    end, "\7", ENTER)))
    assert.equal("draft", read(typed("draft", SEARCH, "fi", "\3", ENTER)))
  end)

  it("goes on in the history from what was found", function()
    assert.equal("last", read(typed(SEARCH, "first", DOWN, DOWN, ENTER)))
    assert.equal("draft", read(typed("draft", SEARCH, "first", DOWN, DOWN, DOWN, ENTER)))
    assert.equal("last", read(typed("draft", SEARCH, "first", "\7", UP, ENTER)))
  end)

  it("stops the process at Ctrl-Z and goes on with the line", function()
    assert.equal("ab", read(typed("a", "\26", "b", ENTER)))
    assert.is_true(editor.suspended)
  end)
end)
