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

  it("of a driver may be several, or every one", function()
    assert.equal("r1,r2", (find({ flag = "r1,r2" })))
    assert.equal("*", (find({ flag = "*" })))
    assert.same({ "r1", "r2" }, release.list("r1, r2"))
    assert.is_nil(release.list("*"))
    assert.is_true(release.accepts("r1,r2", "r2") and release.accepts("*", "r9")
      and release.accepts("r1", "r1"))
    assert.is_false(release.accepts("r1,r2", "r3") or release.accepts("r1", "r1,r2")
      or release.accepts("r1", nil))
    assert.same({ "r1", "v" }, { release.first("r1,r2", "v"), release.first("*", "v") })
    for _, flag in ipairs({ "r1,", ",", "r1,*", "" }) do
      local found, _, err = find({ flag = flag })
      assert.is_nil(found)
      assert.equal("usage", err.kind)
      assert.matches("takes a release, several such as r1,r2, or * for every one", err.message, 1,
        true)
    end
  end)

  it("of a node is one", function()
    for _, flag in ipairs({ "r1,r2", "*" }) do
      local found, _, err = find({ flag = flag, is_node = true })
      assert.is_nil(found)
      assert.equal(("--release of a node is one release, got '%s'; a driver may use "
        .. "several"):format(flag), err.message)
    end
    assert.equal("r1", (find({ flag = "r1", is_node = true })))
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

  it("decides which nodes a map is run on, by several at once while a fleet changes", function()
    local addresses = {}
    for i, name in ipairs({ "r1", "r2", "r3" }) do
      addresses[i] = world:node({ workers = 1, name = name, flags = { "--release", name } }).address
    end
    local job = world:write("job.lua",
      "return { map = function(x) require('fleet').sleep(0.05) return x end }")
    local items = {}
    for i = 1, 40 do items[i] = tostring(i) end
    local function run(wanted)
      return world:run({ "run", "--items", "--release", wanted, "--batch", "1", "--peers",
        table.concat(addresses, ","), job, table.unpack(items) })
    end
    local done = run("r1,r2")
    assert.equal(0, done.code, done.err)
    assert.equal(40, #e2e.results(done.out))
    assert.matches("\nreleases: r1 %(%d+ items on 1 node%), r2 %(%d+ items on 1 node%)\n", done.err)
    done = run("*")
    assert.matches("\nreleases: r1 %(%d+ items? on 1 node%), r2 %(%d+ items? on 1 node%), r3 %(%d+ "
      .. "items? on 1 node%)\n", done.err)
    assert.matches("runs release r3 %(protocol", run("r1,r2").err .. world:run({
      "nodes", "--release", "r1,r2", "--peers", table.concat(addresses, ",") }).err)
    assert.equal("2\n", world:run({ "eval", "--release", "r1,r2", "1 + 1" }).out) -- a private node
    assert.equal("2\n", world:run({ "eval", "--release", "*", "1 + 1" }).out)
  end)
end)
