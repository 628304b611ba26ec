-- SPDX-License-Identifier: MIT

local words = require("fleet.aws.words")

describe("words.split", function()
  it("splits as a shell does, and expands nothing", function()
    for line, list in pairs({
      ["a b  c"] = { "a", "b", "c" },
      ["  a\t'b  c' \"d e\"  "] = { "a", "b  c", "d e" },
      [ [[a\ b "c\"d" "e\\f\g" 'h\i']] ] = { "a b", 'c"d', "e\\f\\g", "h\\i" },
      [ [[x'y'"z" '' ""]] ] = { "xyz", "", "" },
      ["$HOME *.lua `ls` | cat; x"] = { "$HOME", "*.lua", "`ls`", "|", "cat;", "x" },
    }) do
      assert.same(list, words.split(line))
    end
  end)

  it("has nothing for quotes that are not closed, or no word", function()
    for _, line in ipairs({ "", "   ", "'a", '"a', 'a "b\\"', "a\\" }) do
      assert.is_nil(words.split(line))
    end
  end)
end)
