-- SPDX-License-Identifier: MIT
local shell = require("fleet.base.shell")

describe("fleet.base.shell", function()
  it("splits words as a shell does", function()
    for text, words in pairs({
      ["ssh -F cfg"] = { "ssh", "-F", "cfg" },
      ["  a\t b\n"] = { "a", "b" },
      ["a'b c'\"d e\"\\ f"] = { "ab cd e f" },
      [ [["a\"b\\c\d" '\' '']] ] = { [[a"b\c\d]], "\\", "" },
      [""] = {},
      ["a b  c"] = { "a", "b", "c" },
      ["  a\t'b  c' \"d e\"  "] = { "a", "b  c", "d e" },
      [ [[a\ b "c\"d" "e\\f\g" 'h\i']] ] = { "a b", 'c"d', "e\\f\\g", "h\\i" },
      [ [[x'y'"z" '' "" "\$"]] ] = { "xyz", "", "", "\\$" },
      ["$HOME *.lua `ls` | cat; x"] = { "$HOME", "*.lua", "`ls`", "|", "cat;", "x" },
      ["   "] = {},
    }) do
      assert.same(words, shell.split(text))
    end
  end)

  it("refuses what has no end", function()
    for _, text in ipairs({ "a 'b", 'a "b', 'a "b\\"', "a\\", "'a", '"a' }) do
      local words, fault = shell.split(text)
      assert.is_nil(words)
      assert.equal("has a quote or a backslash without an end", fault)
    end
  end)

  it("quotes words so that a shell reads them as they are", function()
    local words = { "plain-1.0/x", "two words", "it's", "", "$HOME", "a\\b", '"', "*", "\xff" }
    local pipe = io.popen("printf '%s\\n' " .. shell.join(words))
    local read = pipe:read("a")
    pipe:close()
    assert.equal(table.concat(words, "\n") .. "\n", read)
    assert.same(words, shell.split(shell.join(words)))
  end)
end)
