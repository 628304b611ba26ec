-- SPDX-License-Identifier: MIT
-- Reading small files: their limits, and what is said when they cannot be read.

local file = require("fleet.base.file")

local function temporary(bytes)
  local path = os.tmpname()
  local f = assert(io.open(path, "wb"))
  f:write(bytes)
  f:close()
  return path
end

describe("file.read", function()
  it("gives all bytes, of an empty file, too", function()
    local path, empty = temporary("a\0b\n"), temporary("")
    assert.equal("a\0b\n", file.read(path))
    assert.equal("a\0b\n", file.read(path, 4))
    assert.equal("", file.read(empty))
    assert.equal("", file.read(empty, 4))
    os.remove(path)
    os.remove(empty)
  end)

  it("refuses a file that is too large", function()
    local path = temporary("12345")
    assert.same({ nil, path .. ": larger than 4 bytes", false }, { file.read(path, 4) })
    os.remove(path)
  end)

  it("says that there is no file", function()
    assert.same({ nil, "/dev/null/x: Not a directory", true }, { file.read("/dev/null/x") })
    assert.same({ nil, "/nowhere: No such file or directory", true }, { file.read("/nowhere") })
  end)

  it("names the path of what cannot be read", function()
    assert.same({ nil, "/: Is a directory", false }, { file.read("/") })
    assert.same({ nil, "/: Is a directory", false }, { file.read("/", 10) })
  end)
end)

describe("file.read_text", function()
  it("drops the byte order mark", function()
    local path = temporary("\u{FEFF}a")
    assert.equal("a", file.read_text(path, 4))
    os.remove(path)
  end)

  it("refuses UTF-16", function()
    local path = temporary("\xFF\xFEa\0")
    assert.same({ nil, path .. ": the file is in UTF-16; save it as UTF-8", false },
      { file.read_text(path) })
    os.remove(path)
  end)

  it("fails as file.read does", function()
    assert.same({ nil, "/nowhere: No such file or directory", true },
      { file.read_text("/nowhere") })
  end)
end)

describe("file.entries", function()
  it("gives the lines that have more than a comment, with their numbers", function()
    local list = {}
    for number, entry in file.entries("# ours\n\n a b \r\n\t\nc#d # e\nlast") do
      list[#list + 1] = ("%d: %s"):format(number, entry)
    end
    assert.same({ "3: a b", "5: c", "6: last" }, list)
    for _, content in ipairs({ "", "\n", " # \n\n" }) do assert.is_nil(file.entries(content)()) end
  end)
end)
