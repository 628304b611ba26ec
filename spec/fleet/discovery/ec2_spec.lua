-- SPDX-License-Identifier: MIT
local ec2 = require("fleet.discovery.ec2")
local task = require("host.task")

local NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"

-- A page of DescribeInstances: each instance is {id=, state=, v4=, public=, v6=, tags=}.
local function page(instances, token)
  local items = {}
  for i, instance in ipairs(instances) do
    local tags = {}
    for key, value in pairs(instance.tags or { ["moonfleet:release"] = "r1" }) do
      tags[#tags + 1] = ("<item><key>%s</key><value>%s</value></item>"):format(key, value)
    end
    local function element(name, value)
      return value and ("<%s>%s</%s>"):format(name, value, name) or ""
    end
    items[i] = "<item><instancesSet><item>" .. element("instanceId", instance.id)
      .. "<instanceState><name>" .. (instance.state or "running") .. "</name></instanceState>"
      .. element("privateIpAddress", instance.v4) .. element("ipAddress", instance.public)
      .. element("ipv6Address", instance.v6)
      .. "<placement><availabilityZone>z</availabilityZone></placement><tagSet>"
      .. table.concat(tags) .. "</tagSet></item></instancesSet></item>"
  end
  return ('<DescribeInstancesResponse xmlns="%s"><reservationSet>%s</reservationSet>%s'
    .. "</DescribeInstancesResponse>"):format(NAMESPACE, table.concat(items),
    token and ("<nextToken>%s</nextToken>"):format(token) or "")
end

describe("fleet.discovery.ec2", function()
  local asked, answers, own
  before_each(function() asked, answers, own = {}, {}, {} end)

  local function new(options)
    local all = {
      aws = {
        query = function(_, service, version, action, params)
          local copy = { service, version, action }
          for name, value in pairs(params) do copy[name] = value end
          asked[#asked + 1] = copy
          local a = table.remove(answers, 1)
          if type(a) == "table" then return nil, a end
          return a
        end,
        imds = {
          instance_id = function() return own.id, { kind = "timeout", message = "nobody" } end,
          tag = function() return own.tag end,
        },
      },
      region = "eu-west-1", endpoint = "https://ec2", identity = "profile dev", release = "r1",
      tag_key = "moonfleet:release", filters = {}, address = "private_v4", port = 5440,
    }
    for name, value in pairs(options or {}) do all[name] = value end
    return ec2.new(all)
  end

  it("finds the instances of several releases, or of every one", function()
    local source = new({ release = "r1,r*" })
    local function tagged(id, value, fleet)
      return { id = id, v4 = "10.0.0.1", tags = { ["moonfleet:release"] = value,
        ["moonfleet:fleet"] = fleet } }
    end
    answers = { page({ tagged("i-1", "r1"), tagged("i-2", "r2"), tagged("i-3", "r*") }) }
    local members = source:poll().members
    assert.same({ "i-1", "i-3", nil }, { members[1].id, members[2].id, members[3] })
    assert.same({ "r1", "r\\*" },
      { asked[1]["Filter.1.Value.1"], asked[1]["Filter.1.Value.2"] })
    answers = { page({ tagged("i-1", "r1"), tagged("i-2", "r2") }) }
    assert.equal(2, #new({ release = "*" }):poll().members)
    assert.equal("*", asked[2]["Filter.1.Value.1"])
  end)

  it("leaves out the instances of other fleets", function()
    local function tagged(id, fleet)
      return { id = id, v4 = "10.0.0.1", tags = { ["moonfleet:release"] = "r1",
        ["moonfleet:fleet"] = fleet } }
    end
    local all = page({ tagged("i-1", "search"), tagged("i-2", "ads"), tagged("i-3") })
    local function ids(options)
      answers = { all }
      local list = {}
      for i, member in ipairs(new(options):poll().members) do list[i] = member.id end
      return list
    end
    assert.same({ "i-1", "i-2", "i-3" }, ids({}))
    assert.same({ "i-1", "i-3" }, ids({ fleet = "search" })) -- that of the keys
    assert.is_nil(asked[2]["Filter.3.Name"])
    assert.same({ "i-1" }, ids({ fleet = "search", only_tagged = true })) -- --fleet
    assert.same({ "tag:moonfleet:fleet", "search" },
      { asked[3]["Filter.3.Name"], asked[3]["Filter.3.Value.1"] })
  end)

  it("asks for running instances with the tag, 1,000 a page, until there is no more", function()
    local source = new({ filters = { { name = "vpc-id", values = { "vpc-1", "vpc-2" } } } })
    answers = {
      page({ { id = "i-1", v4 = "10.0.0.1" } }, "t1"), page({}, "t2"),
      page({ { id = "i-2", v4 = "10.0.0.2" }, { id = "i-3", v4 = "10.0.0.3" } }),
    }
    local answer = assert(source:poll())
    assert.same({
      { id = "i-1", address = "10.0.0.1:5440", zone = "z" },
      { id = "i-2", address = "10.0.0.2:5440", zone = "z" },
      { id = "i-3", address = "10.0.0.3:5440", zone = "z" },
    }, answer.members)
    assert.equal(3, #asked)
    local first = {
      "ec2", "2016-11-15", "DescribeInstances", MaxResults = 1000,
      ["Filter.1.Name"] = "tag:moonfleet:release", ["Filter.1.Value.1"] = "r1",
      ["Filter.2.Name"] = "instance-state-name", ["Filter.2.Value.1"] = "running",
      ["Filter.3.Name"] = "vpc-id", ["Filter.3.Value.1"] = "vpc-1",
      ["Filter.3.Value.2"] = "vpc-2",
    }
    assert.same(first, asked[1])
    first.NextToken = "t2"
    assert.same(first, asked[3])
    -- and begins anew
    answers = { page({}) }
    source:poll()
    assert.is_nil(asked[4].NextToken)
  end)

  it("has a question of its own for whoever asks, and whatever is asked", function()
    local question = new().question
    assert.equal(question, new().question)
    for name, value in pairs({ identity = "profile prod", region = "us-east-1", release = "r2",
      endpoint = "https://other", address = "auto", port = 1 }) do
      assert.not_equal(question, new({ [name] = value }).question, name)
    end
  end)

  it("takes no answer in part: any page that fails fails all", function()
    local source = new()
    answers = { page({ { id = "i-1", v4 = "10.0.0.1" } }, "t"), { kind = "x", message = "no" } }
    assert.same({ nil, { kind = "x", message = "no" } }, { source:poll() })
    local whole = page({ { id = "i-1", v4 = "10.0.0.1" } })
    for _, body in ipairs({ "", whole:sub(1, -10), "<html><br></html>", "{}" }) do
      answers = { page({}, "t"), body }
      local answer, err = source:poll()
      assert.is_nil(answer, body)
      assert.is_string(err.message)
    end
  end)

  it("notices pages that never end", function()
    local source = new()
    for i = 1, 9 do answers[i] = page({}, "t" .. i % 3) end
    local answer, err = source:poll()
    assert.is_nil(answer)
    assert.matches("the same page repeatedly", err.message, 1, true)
    assert.equal(4, #asked)
  end)

  it("takes only what belongs, whatever the answer has", function()
    answers = { page({
      { id = "i-1", v4 = "10.0.0.1" }, { id = "i-2", v4 = "10.0.0.2", state = "terminated" },
      { id = "i-3", v4 = "10.0.0.3", tags = { ["moonfleet:release"] = "r1x" } },
      { id = "i-4", v4 = "10.0.0.4", tags = {} }, { id = "i-5" },
    }) }
    local answer = new():poll()
    assert.equal(1, #answer.members)
    assert.equal("left out: 1 instance without private_v4 address (i-5)", answer.note)
  end)

  it("takes the release for a word, not for a pattern", function()
    answers = { page({}) }
    new({ release = "a*b?c\\d" }):poll()
    assert.equal("a\\*b\\?c\\\\d", asked[1]["Filter.1.Value.1"])
  end)

  it("takes the address that is asked for", function()
    local instances = {
      { id = "i-1", v4 = "10.0.0.1", public = "52.1.1.1", v6 = "2600::1" },
      { id = "i-2", v6 = "2600::2" },
    }
    for kind, list in pairs({
      private_v4 = "10.0.0.1:9", public_v4 = "52.1.1.1:9", public_v6 = "[2600::1]:9 [2600::2]:9",
      private_v6 = "[2600::1]:9 [2600::2]:9", auto = "10.0.0.1:9 [2600::2]:9",
    }) do
      answers = { page(instances) }
      local found = {}
      for i, m in ipairs(new({ address = kind, port = 9 }):poll().members) do
        found[i] = m.address
      end
      assert.equal(list, table.concat(found, " "), kind)
    end
  end)

  it("asks less often the larger the fleet is", function()
    local function wait_for(n, interval)
      local instances = {}
      for i = 1, n do instances[i] = { id = "i-" .. i, v4 = "10.0.0." .. i } end
      answers = { page(instances) }
      return new({ interval = interval }):poll().wait
    end
    assert.equal(10, wait_for(0))
    assert.equal(30, wait_for(200))
    assert.equal(4, wait_for(100, 2))
  end)

  -- Own instance: known only after a moment.
  local function polls(source, n)
    local answer
    for _ = 1, n do
      answers = { page({ { id = "i-1", v4 = "10.0.0.1" } }) }
      answer = source:poll()
      task.yield()
    end
    return answer
  end

  it("knows which of them this machine is, when it is one", function()
    assert.is_nil(polls(new(), 3).own)
    own = { id = "i-9" } -- another instance, such as a bastion
    assert.is_nil(polls(new(), 3).own)
    own = { id = "i-9", tag = "r1" } -- its tag says that it should be there
    assert.equal("i-9", polls(new(), 3).own)
    own = { id = "i-1" } -- it was there
    assert.equal("i-1", polls(new(), 3).own)
    own = { id = "i-9" } -- it was there in an answer of before
    local source = new()
    source:expect("i-9")
    assert.equal("i-9", polls(source, 3).own)
  end)

  it("expects this machine no more when it need not be there", function()
    own = { id = "i-1", tag = "r1" } -- there, and then it has another release
    local source = new()
    assert.equal("i-1", polls(source, 3).own)
    own.tag = "r2"
    answers = { page({ { id = "i-2", v4 = "10.0.0.2" } }) }
    assert.is_nil(source:poll().own)
    source = new()
    source:expect("i-9") -- the same between two commands
    own = { id = "i-9", tag = "r2" }
    assert.is_nil(polls(source, 3).own)
    own = { id = "i-9", tag = "r1" } -- filters of the user's may leave it out
    source = new({ filters = { { name = "vpc-id", values = { "vpc-1" } } } })
    assert.is_nil(polls(source, 3).own)
    own = { id = "i-1", tag = "r1" } -- it has no such address
    assert.is_nil(polls(new({ address = "public_v4" }), 3).own)
  end)

  it("says why nobody was found", function()
    local source = new()
    answers = { page({}) }
    source:poll()
    assert.equal("EC2 has no running instance with tag moonfleet:release = r1 in eu-west-1; "
      .. "moonfleet doctor tells more", source:why_empty())
    answers = { page({ { id = "i-1" }, { id = "i-2" } }) }
    source:poll()
    assert.matches("EC2 has 2 running instances with .* none with an address of type private_v4",
      source:why_empty())
  end)

  it("counts all that have the tag, by value and state", function()
    local function tagged(value) return { ["moonfleet:release"] = value } end
    answers = { page({
      { id = "i-1", tags = tagged("a") }, { id = "i-2", tags = tagged("a"), state = "stopped" },
      { id = "i-3", tags = tagged("b") }, { id = "i-4", tags = tagged("a") },
    }) }
    local source = new({ filters = { { name = "vpc-id", values = { "vpc-1" } } } })
    assert.same({ a = { running = 2, stopped = 1 }, b = { running = 1 } }, source:census())
    assert.same({ "tag-key", "moonfleet:release" },
      { asked[1]["Filter.1.Name"], asked[1]["Filter.1.Value.1"] })
    assert.is_nil(asked[1]["Filter.2.Name"])
  end)
end)
