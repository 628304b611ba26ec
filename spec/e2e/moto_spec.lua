-- SPDX-License-Identifier: MIT
-- Tests discovery with moto, an independent simulation of EC2: more than a thousand instances, with
-- and without the tag, in several states, and their changes.
-- Patient: moto is slow.

local aws = require("spec.support.aws")
local discovery = require("fleet.discovery")
local e2e = require("spec.support.e2e")
local ec2 = require("fleet.discovery.ec2")
local fleet_aws = require("fleet.aws")
local http = require("fleet.http")
local json = require("fleet.json")

local API = "2016-11-15"

describe("discovery against moto", function()
  local world, moto, view
  local pages = 0

  local function call(action, params)
    local body, err = view:query("ec2", API, action, params)
    if not body then error(err.message, 0) end
    return body
  end

  -- Launches instances with a tag; returns their ids.
  local function launch(count, key, value)
    local params = { ImageId = "ami-12345678", MinCount = count, MaxCount = count }
    if key then
      params["TagSpecification.1.ResourceType"] = "instance"
      params["TagSpecification.1.Tag.1.Key"] = key
      params["TagSpecification.1.Tag.1.Value"] = value
    end
    local ids = {}
    for id in call("RunInstances", params):gmatch("<instanceId>(i%-%x+)</instanceId>") do
      ids[#ids + 1] = id
    end
    assert.equal(count, #ids)
    return ids
  end

  local function source_of(release, interval, page)
    return ec2.new({
      aws = view, region = "eu-west-1", endpoint = moto.url, identity = "spec", release = release,
      tag_key = "moonfleet:release", filters = {}, address = "private_v4", port = 5440,
      interval = interval, page = page,
    })
  end

  local function ids_of(members)
    local ids = {}
    for i, m in ipairs(members) do ids[i] = m.id end
    table.sort(ids)
    return ids
  end

  -- Resets the moto that all specs share, or skips the spec if there is none.
  local function begin(pending)
    if not moto then
      world = world or e2e.new()
      moto = aws.moto(world, pending)
      aws.moto_auth(moto, false) -- else nobody may launch instances
      local env = {
        AWS_ACCESS_KEY_ID = "testing", AWS_SECRET_ACCESS_KEY = "testing",
        AWS_EC2_METADATA_DISABLED = "true",
      }
      view = fleet_aws.new({
        flags = { region = "eu-west-1", endpoints = { ec2 = moto.url } },
        getenv = function(name) return env[name] end, read = function() return nil end,
      })
      local query = view.query
      function view.query(self, service, version, action, params)
        pages = pages + 1
        -- moto is slow
        return query(self, service, version, action, params, { timeout = 120 })
      end
    end
    assert(http.post(moto.url .. "moto-api/reset", "")) -- it takes seconds with many instances
  end
  teardown(function()
    if world then world:close() end
  end)

  it("finds exactly those of the release that run, page by page, of more than 1,000", function()
    begin(pending)
    -- moto's pages are of reservations: the instances that one call launched
    local ours = {}
    for i = 1, e2e.sanitized and 3 or 22 do -- a sanitizer sees the same with fewer
      table.move(launch(50, "moonfleet:release", "big"), 1, 50, #ours + 1, ours)
      if i % 3 == 0 then launch(3, "moonfleet:release", "other") end
      if i % 7 == 0 then launch(3, "unrelated", "big") end
    end
    launch(2, "moonfleet:release", "big*") -- what a wildcard is in a filter
    call("StopInstances", { ["InstanceId.1"] = table.remove(ours) })
    call("TerminateInstances", { ["InstanceId.1"] = table.remove(ours) })
    table.sort(ours)
    assert.is_true(e2e.sanitized or #ours > 1000, #ours)

    pages = 0
    local answer = assert(source_of("big", nil, e2e.sanitized and 1 or 10):poll())
    assert.same(ours, ids_of(answer.members))
    assert.equal(3, pages)
    for _, m in ipairs(answer.members) do
      assert.matches("^%d+%.%d+%.%d+%.%d+:5440$", m.address)
      assert.matches("^eu%-west%-1%a$", m.zone)
    end
    assert.equal(2, #source_of("big*"):poll().members)
    local census = assert(source_of("big"):census())
    assert.same({ running = #ours, stopped = 1, terminated = 1 }, census.big)
    assert.is_truthy(census.other.running)
  end)

  it("lets a stopped one go after three looks, and has a new one after one", function()
    begin(pending)
    local ids = launch(3, "moonfleet:release", "small")
    local source = source_of("small", 0.5)
    local polls, events = 0, {}
    local poll = source.poll
    function source.poll(self)
      local answer, err = poll(self)
      polls = polls + 1
      return answer, err
    end
    local found = discovery.new(source)
    finally(function() found:close() end)
    table.sort(ids)
    assert.same(ids, ids_of(found:open()))
    found:follow(function(m) events["+" .. m.id] = polls end,
      function(m) events["-" .. m.id] = polls end, function() return false end)

    call("StopInstances", { ["InstanceId.1"] = ids[2] })
    local new = launch(1, "moonfleet:release", "small")[1]
    local from = polls -- one look may be under way
    e2e.wait_until("the new one", function() return events["+" .. new] end)
    assert.is_true(events["+" .. new] <= from + 2)
    e2e.wait_until("the stopped one to go", function() return events["-" .. ids[2]] end)
    assert.is_true(events["-" .. ids[2]] >= from + 3 and events["-" .. ids[2]] <= from + 4)
    assert.same({ "+" .. new, "-" .. ids[2] }, (function()
      local names = {}
      for name in pairs(events) do names[#names + 1] = name end
      table.sort(names)
      return names
    end)())
  end)

  it("is what the program does, with the tag of ClusterScrape", function()
    begin(pending)
    local ids = launch(2, "csrelease", "abc123")
    launch(1, "csrelease", "abc124")
    local run = world:run({
      "nodes", "--discover", "ec2", "--tag-key", "csrelease", "--release", "abc123", "--json",
    }, {
      env = {
        "AWS_ENDPOINT_URL=" .. moto.url, "AWS_ACCESS_KEY_ID=testing", "AWS_REGION=eu-west-1",
        "AWS_SECRET_ACCESS_KEY=testing", "AWS_EC2_METADATA_DISABLED=true",
        "HOME=" .. world.dir,
      },
    })
    local list = assert(json.decode(run.out), run.err)
    assert.equal(#ids, #list)
    for _, row in ipairs(list) do
      assert.equal("down", row.state) -- nobody is at these addresses
      assert.matches("^eu%-west%-1", row.zone)
    end
  end)
end)
