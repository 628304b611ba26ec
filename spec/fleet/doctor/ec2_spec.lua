-- SPDX-License-Identifier: MIT
local ec2 = require("fleet.doctor.ec2")
local report = require("fleet.doctor.report")

describe("fleet.doctor.ec2", function()
  local world
  before_each(function()
    world = {
      id = "i-1", zone = "eu-west-1a", tag = "r1",
      rows = { { name = "region", value = "eu-west-1", source = "AWS_REGION" } },
      date = os.date("!%a, %d %b %Y %H:%M:%S GMT"),
      census = { r1 = { running = 2, stopped = 1 } },
      answer = { members = { { id = "i-1", address = "10.0.0.1:5440" } } },
    }
  end)

  -- The findings as lines; and whether there is more to look at.
  local function check()
    local aws = {
      imds = {
        instance_id = function() return world.id, world.id_error end,
        zone = function() return world.zone end,
        tag = function() return world.tag, world.tag_error end,
      },
      describe = function() return world.rows end,
      endpoint = function() return "https://ec2" end,
      region = function() return "eu-west-1" end,
    }
    local source = {
      options = { tag_key = "moonfleet:release", release = "r1", filters = world.filters or {} },
      census = function() return world.census, world.census_error end,
      poll = function() return world.answer end,
    }
    local found = report.new()
    local more = ec2.check(found, aws, "moonfleet:release", world.release or "r1",
      function() return not world.no_source and source, world.no_source end,
      function() return world.date and { headers = { date = world.date } } end)
    local lines = {}
    for i, f in ipairs(found.findings) do
      lines[i] = ("%s %s: %s%s"):format(f.status, f.check, f.detail,
        f.fix and " -> " .. f.fix or "")
    end
    return lines, more
  end

  it("is content when all is well", function()
    local lines, more = check()
    assert.same({
      "ok instance: i-1 in eu-west-1a", "ok instance tag: moonfleet:release = r1",
      "ok region: eu-west-1, from AWS_REGION", "ok clock: agrees with AWS",
      "ok API: ec2:DescribeInstances is allowed and works",
      "ok instances: moonfleet:release = r1: 1 stopped, 2 running",
      "ok own instance: is among them, at 10.0.0.1:5440",
    }, lines)
    assert.is_true(more)
  end)

  it("does not mind a machine that is no instance", function()
    world.id, world.id_error = nil, { kind = "timeout", message = "nobody answers" }
    local lines, more = check()
    assert.equal("ok instance: not running on EC2 (nobody answers)", lines[1])
    assert.is_true(more)
    assert.equal(5, #lines)
    world.id_error = { kind = "refused", status = 403, message = "it is off" }
    assert.matches("^warn instance: it is off %->", (check())[1])
  end)

  it("says what to do when tags are not shown", function()
    world.tag = nil
    assert.matches("^warn instance tag: the metadata has no tag .* enable InstanceMetadataTags",
      (check())[2])
  end)

  it("says when the tag is of another release than the program", function()
    world.release = "r2"
    assert.matches("^warn instance tag: moonfleet:release = r1, and the release here is r2 %-> ",
      (check())[2])
  end)

  it("stops at a configuration that is not whole, and says each reason once", function()
    local err = { message = "no region" }
    world.rows = {
      { name = "region", err = err }, { name = "ec2 endpoint", err = err },
      { name = "credentials", err = { message = "no credentials" } },
    }
    local lines, more = check()
    assert.same({
      "fail region: no region -> set --region or AWS_REGION",
      "fail credentials: no credentials -> set AWS_PROFILE or AWS_ACCESS_KEY_ID and "
        .. "AWS_SECRET_ACCESS_KEY, or attach a role to the instance",
    }, { table.unpack(lines, 3) })
    assert.is_false(more)
  end)

  it("has what to do about a role that may not be assumed", function()
    world.rows = { { name = "credentials", err = { message = "denied", class = "denied" } } }
    assert.equal("fail credentials: denied -> change the policies as the message says",
      (check())[3])
  end)

  it("names the profile that is wrong, not what comes of it", function()
    local err = { message = "no profile p" }
    world.rows = {
      { name = "profile", value = "p", err = err }, { name = "region", err = err },
      { name = "credentials", err = err },
    }
    local lines = check()
    assert.equal(3, #lines)
    assert.matches("^fail profile: no profile p %-> set %-%-profile", lines[3])
  end)

  it("compares the clocks", function()
    local function clock(seconds)
      world.date = os.date("!%a, %d %b %Y %H:%M:%S GMT", os.time() + seconds)
      return (check())[4]
    end
    assert.matches("^warn clock: 6%d s behind %-> synchronize", clock(61))
    assert.matches("^warn clock: %d+ s ahead %-> synchronize", clock(-60))
    assert.matches("^fail clock: 6%d%d s behind %-> synchronize", clock(600))
    world.date = nil
    assert.matches("^ok API", (check())[4])
  end)

  it("says what the API says", function()
    world.census, world.census_error = nil, { message = "it lacks ec2:X", class = "denied" }
    local lines, more = check()
    assert.equal("fail API: it lacks ec2:X -> change the policies as the message says",
      lines[#lines])
    assert.is_false(more)
    for _, class in ipairs({ "stale", "throttled", "transient", "lost", "final" }) do
      world.census_error.class = class
      assert.matches("^fail API: .* %-> %w", (function(l) return l[#l] end)((check())))
    end
    world.no_source = { message = "no such filter" }
    assert.equal("fail discovery: no such filter", (function(l) return l[#l] end)((check())))
  end)

  it("names the releases that there are when ours is not among them", function()
    world.census = { r0 = { running = 1 }, r2 = { stopped = 2 } }
    local lines, more = check()
    assert.equal("fail instances: no running instance has moonfleet:release = r1; there are: "
      .. "r0 (1 running), r2 (2 stopped) -> set --release to one of these, or start instances",
      lines[#lines])
    assert.is_false(more)
    for i = 1, 9 do world.census["x" .. i] = { running = 1 } end
    assert.matches("x3 %(1 running%) and 6 more %->", (check())[6])
    world.census = { r1 = { stopped = 1 } }
    assert.matches("there are: r1 %(1 stopped%)", (check())[6])
    world.census = {}
    assert.matches("^fail instances: no instance in eu%-west%-1 has a tag moonfleet:release %-> "
      .. "tag the instances", (check())[6])
  end)

  it("says when filters let none of them through", function()
    world.answer = { members = {} }
    assert.is_true(select(2, check())) -- the nodes tell
    world.filters = { { name = "vpc-id", values = { "vpc-1" } } }
    local lines, more = check()
    assert.equal("fail filters: no instance matches --filter -> correct "
      .. "--filter, or omit it", lines[#lines])
    assert.is_false(more)
  end)

  it("says when our own instance is not there, and what was left out", function()
    world.answer = { members = {}, note = "left out: 2 instances" }
    local lines = check()
    assert.equal("warn addresses: left out: 2 instances -> set another --address", lines[7])
    assert.matches("^warn own instance: i%-1 is not among them %->", lines[8])
  end)
end)
