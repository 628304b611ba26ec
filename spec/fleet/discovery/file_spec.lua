-- SPDX-License-Identifier: MIT
local e2e = require("spec.support.e2e")
local file = require("fleet.discovery.file")

describe("fleet.discovery.file", function()
  it("reads an address and a zone in each line", function()
    local members = assert(file.parse(
      "# the fleet\n10.0.0.1\n\n10.0.0.2:7 zone-a  # old\r\n[fd00::1]:8\tb\n10.0.0.1:5440\n", "f",
      5440))
    assert.same({
      { id = "10.0.0.1:5440", address = "10.0.0.1:5440" },
      { id = "10.0.0.2:7", address = "10.0.0.2:7", zone = "zone-a" },
      { id = "[fd00::1]:8", address = "[fd00::1]:8", zone = "b" },
    }, members)
    assert.same({}, file.parse("", "f", 1))
  end)

  it("says which line is wrong, and what is", function()
    for text, message in pairs({
      ["a\nb:x\n"] = "f:2: 'b:x' is not HOST, HOST:PORT or [IPV6]:PORT",
      ["a:70000"] = "f:1: 'a:70000' has a port outside 1 to 65535",
      ["\n\na b c"] = "f:3: a line is HOST[:PORT] [ZONE], got 3 words",
    }) do
      local members, err = file.parse(text, "f", 1)
      assert.is_nil(members)
      assert.same({ "input", message }, { err.kind, err.message })
    end
  end)

  it("reads the file again at each poll", function()
    local world = e2e.new()
    finally(function() world:close() end)
    local source = file.new(world:write("nodes", "a\n"), file.addresses(9))
    assert.same({ { id = "a:9", address = "a:9" } }, source:poll().members)
    world:write("nodes", "b:1\n")
    assert.same({ { id = "b:1", address = "b:1" } }, source:poll().members)
    world:write("nodes", "b:\n")
    local answer, err = source:poll()
    assert.is_nil(answer)
    assert.matches("nodes:1: 'b:' is not HOST", err.message, 1, true)
    world:write("nodes", "")
    assert.same({}, source:poll().members)
    assert.matches("there is no node in ", source:why_empty(), 1, true)
  end)

  it("tells a list that cannot be read from an empty one", function()
    local world = e2e.new()
    finally(function() world:close() end)
    for path, why in pairs({
      [world:path("none")] = "No such file or directory", [world.dir] = "Is a directory",
    }) do
      local answer, err = file.new(path, file.addresses(9)):poll()
      assert.is_nil(answer)
      assert.equal(("cannot read the list of nodes %s: %s"):format(path, why), err.message)
    end
    local big = world:write("big", ("# line\n"):rep(600000))
    local _, err = file.new(big, file.addresses(9)):poll()
    assert.matches("larger than 4194304 bytes", err.message)
  end)
end)
