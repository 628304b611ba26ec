-- SPDX-License-Identifier: MIT
local e2e = require("spec.support.e2e")
local release = require("fleet.discovery.release")

describe("fleet.release", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  local function imds(tags, err)
    return { tag = function(_, key) return tags[key], err end }
  end
  local function find(options)
    options.file = options.file or world:path("none")
    return release.find(options)
  end

  it("is what the command line says, then the file, then the tag, then the version", function()
    local tagged, file = imds({ ["moonfleet:release"] = "t" }), world:write("release", " f 1\n")
    local all = { flag = "l", file = file, imds = tagged, default = "v" }
    assert.same({ "l", "--release" }, { find(all) })
    all.flag = nil
    assert.same({ "f 1", file }, { find(all) })
    all.file = world:path("none")
    assert.same({ "t", "tag moonfleet:release of this instance" }, { find(all) })
    all.tag_key = "csrelease"
    assert.same({ "v", "the program's version" }, { find(all) })
    all.imds = nil
    assert.same({ "v", "the program's version" }, { find(all) })
  end)

  it("says all that was tried when nobody knows", function()
    local found, _, err = find({ imds = imds({}), tag_key = "csrelease" })
    assert.is_nil(found)
    assert.equal("config", err.kind)
    assert.equal(("the release is unknown: give --release, or %s, or the tag csrelease with "
      .. "InstanceMetadataTags enabled (this machine has no such tag)"):format(world:path("none")),
      err.message)
    _, _, err = find({ imds = imds({}, { kind = "timeout", message = "no answer" }) })
    assert.matches("(no answer)", err.message, 1, true)
  end)

  it("takes no file for a release that is none", function()
    for _, text in ipairs({ "", " \n", "a\nb\n", ("x"):rep(257), "a\0b" }) do
      local found, _, err = find({ file = world:write("release", text), default = "v" })
      assert.is_nil(found)
      assert.matches("must have one line", err.message, 1, true)
    end
    assert.equal(("x"):rep(256), (find({ file = world:write("release", ("x"):rep(256) .. "\n") })))
    local found, _, err = find({ file = world.dir, default = "v" })
    assert.is_nil(found)
    assert.matches("cannot read the release of this machine from .*: Is a directory", err.message)
  end)

  it("is read by every command from the file", function()
    local path = world:write("release", "r7\n")
    local node = world:node({ workers = 1, flags = { "--release-file", path } })
    local run = world:run({ "nodes", "--peers", node.address })
    assert.equal(3, run.code)
    assert.matches("runs release r7", run.err, 1, true)
    assert.equal(0, world:run({ "nodes", "--peers", node.address },
      { env = { "MOONFLEET_RELEASE_FILE=" .. path } }).code)
    run = world:run({ "eval", "--release-file", world:write("wrong", "\n"), "1" })
    assert.same({ 2, 1 }, { run.code, #e2e.lines(run.err) })
  end)
end)
