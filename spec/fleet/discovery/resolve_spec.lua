-- SPDX-License-Identifier: MIT
local resolve = require("fleet.discovery.resolve")

describe("fleet.discovery.resolve", function()
  local function where(flags)
    return resolve.nodes(flags, function(name) return name == "HOME" and "/home" or nil end)
  end

  it("takes peers as they are, and nothing for this machine", function()
    assert.is_nil(where({}))
    assert.same({
      members = { { id = "a", address = "a" }, { id = "b:1", address = "b:1" } }, discoveries = {},
    }, where({ peers = { "a", "b:1" } }))
  end)

  it("refuses peers that are no addresses", function()
    local good = { "ipc:///tmp/s", "tcp://a:1", "[::1]:5", "::1", "ws://a/b" }
    for i, member in ipairs(where({ peers = good }).members) do
      assert.equal(good[i], member.address)
    end
    for peer, message in pairs({
      ["./list"] = "--peers: './list' is not HOST, HOST:PORT or [IPV6]:PORT; a list of nodes in a "
        .. "file is --discover file:PATH",
      ["/etc/peers"] = "--peers: '/etc/peers' is not HOST, HOST:PORT or [IPV6]:PORT; a list of "
        .. "nodes in a file is --discover file:PATH",
      ["a:x"] = "--peers: 'a:x' is not HOST, HOST:PORT or [IPV6]:PORT",
      ["tcp://a:99999"] = "--peers: 'tcp://a:99999' has a port outside 1 to 65535",
    }) do
      local found, err = where({ peers = { "good", peer } })
      assert.is_nil(found)
      assert.same({ "usage", message }, { err.kind, err.message })
    end
  end)

  it("makes a discovery of what is asked for", function()
    local found = assert(where({ discover = "file:a list" })).discoveries
    assert.equal(1, #found)
    assert.equal("file a list", found[1].source.name)
    assert.is_nil(found[1].cache)
  end)

  it("puts nodes that are started beside those that are found", function()
    local found = assert(where({
      peers = { "a" }, ssh = { "b" }, launch = { "c" }, discover = "file:x", sshlogin_file = "y",
    }))
    local names = {}
    for i, member in ipairs(found.members) do names[i] = member.id end
    assert.same({ "ssh b", "launch 1", "a" }, names)
    assert.same({ "file x", "file y" },
      { found.discoveries[1].source.name, found.discoveries[2].source.name })
    assert.equal("usage", select(2, where({ sshlogin_file = "y", ssh_command = "'" })).kind)
  end)

  it("says whether anything selects nodes", function()
    for _, flags in ipairs({ {}, { tls = "x", ssh_copy = true, release = "1" } }) do
      assert.is_false(resolve.selects(flags))
    end
    for _, key in ipairs({ "peers", "discover", "ssh", "sshlogin_file", "launch" }) do
      assert.is_true(resolve.selects({ [key] = { "x" }, release = "1" }), key)
    end
  end)

  it("tells the kinds of discovery apart", function()
    for what, kind in pairs({ ec2 = "ec2", ["ec2:"] = "ec2", ["dns:a:1"] = "dns",
      ["file:a list"] = "file" }) do
      assert.equal(kind, (resolve.kind(what)), what)
    end
    assert.same({}, { resolve.kind(nil) })
    for _, what in ipairs({ "EC2", "ec2x", "ec2 ", ":", "" }) do
      local kind, err = resolve.kind(what)
      assert.is_nil(kind, what)
      assert.equal("usage", err.kind, what)
    end
  end)

  it("says what is wrong, and what there is", function()
    local function message(flags)
      local found, err = where(flags)
      assert.is_nil(found)
      assert.equal("usage", err.kind)
      return err.message
    end
    assert.equal("--discover takes ec2, dns:NAME[:PORT] or file:PATH, got 'fil:x'; did you mean "
      .. "file?", message({ discover = "fil:x" }))
    assert.matches("got 'consul'$", message({ discover = "consul" }))
    assert.equal("--discover file:PATH needs the path of a list of nodes",
      message({ discover = "file:" }))
  end)

  it("takes what is said nearer to the user, and not both from one place", function()
    local function nearer(peers, discover)
      local flags = { peers = { "a" }, discover = "ec2" }
      local ok, err = resolve.most_specific(flags, {
        peers = peers and { precedence = peers, name = "PEERS" },
        discover = discover and { precedence = discover, name = "DISCOVER" },
      })
      return ok and (flags.peers and "peers " or "") .. (flags.discover or ""), err
    end
    assert.equal("peers ", (nearer(1, 2)))
    assert.equal("ec2", (nearer(3, 2)))
    assert.equal("peers ec2", (nearer(1, nil)))
    local ok, err = nearer(2, 2)
    assert.is_nil(ok)
    assert.equal("usage", err.kind)
    assert.equal("PEERS and DISCOVER both select the nodes: give only one of them", err.message)
  end)

  it("takes nodes that are started beside others of the same place alone", function()
    local function selected(places)
      local flags, origins = {}, {}
      for key, precedence in pairs(places) do
        flags[key], origins[key] = { key }, {
          precedence = precedence, typed = precedence == 1, name = key,
        }
      end
      local ok, err = resolve.most_specific(flags, origins)
      if not ok then return err.message end
      local left = {}
      for key in pairs(flags) do left[#left + 1] = key end
      table.sort(left)
      return table.concat(left, " ")
    end
    assert.equal("launch peers ssh", selected({ peers = 1, ssh = 1, launch = 1 }))
    assert.equal("discover sshlogin_file", selected({ discover = 2, sshlogin_file = 2 }))
    assert.equal("launch", selected({ peers = 2, discover = 3, ssh = 2, launch = 1 }))
    assert.equal("ssh", selected({ peers = 2, discover = 2, ssh = 1 }))
    assert.equal("ssh ssh_copy", selected({ ssh = 1, ssh_copy = 3 }))
    assert.equal("ssh_copy needs --ssh or --sshlogin-file, which select the hosts",
      selected({ launch = 1, ssh_copy = 1 }))
    assert.equal("launch ssh_copy", selected({ launch = 1, ssh_copy = 2 })) -- configured for others
  end)
end)
