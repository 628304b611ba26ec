-- SPDX-License-Identifier: MIT
-- The rehearsal: a fleet from nothing to its end, in the order in which one would do it. Each step
-- needs those before it. spec/rehearsal/run prepares the machine and runs this.

local e2e = require("spec.support.e2e")
local fleet = require("spec.rehearsal.fleet")
local json = require("fleet.json")
local sys = require("host.sys")

local ITEMS = 20000 -- of the map during which the fleet gets another release
local FILES = 300
-- Seconds that an interrupted instance has left, as on EC2.
local NOTICE = 120

describe("a fleet on EC2", function()
  local rehearsal
  local deployer, driver -- callers of AWS
  local packages = {} -- paths, by release of the package
  local second -- the process that builds the second one
  local failed -- the step that did: those after it cannot work

  local function step(what, check)
    it(what, function()
      if failed then error("not tried, because a step before it has failed: " .. failed, 0) end
      local began = sys.now()
      local ok, err = pcall(check)
      io.stdout:write(("  %5.1f s  %s\n"):format(sys.now() - began, what))
      io.stdout:flush()
      if ok then return end
      failed = what
      error(err, 0)
    end)
  end

  setup(function()
    rehearsal = fleet.new()
    rehearsal:start()
    deployer = rehearsal:user("deployer", assert(e2e.read("packer/deployer-policy.json")))
    -- docs/deploy.md: what those who submit jobs need
    driver = rehearsal:user("driver", json.encode({
      Version = "2012-10-17",
      Statement = {
        { Effect = "Allow", Action = "ec2:DescribeInstances", Resource = "*" },
        { Effect = "Allow", Action = "ssm:GetParameter",
          Resource = "arn:aws:ssm:*:*:parameter/moonfleet/search/driver" },
      },
    }))
  end)

  teardown(function()
    if failed and rehearsal.cloud then print(rehearsal:story()) end
    rehearsal:close()
  end)

  local function deploy(release)
    return rehearsal:deploy(deployer, {
      "--release", release, "--subnets", rehearsal.subnet, "--rpm", packages[1],
      "--portable-packer", "--arch", "x86_64", "--type", "t3.small",
      "--min", "1", "--max", "6", "--desired", "3", "--timeout", "90",
    })
  end

  -- Waits for a command that must succeed; returns what it said.
  local function succeeds(process)
    local ok, run = pcall(process.wait, process, 240)
    if not ok then error(("%s\n%s"):format(run, process:out()), 2) end
    if run.code ~= 0 then
      error(("%s: exit code %s\n%s%s"):format(process.line, run.code, run.out, run.err), 2)
    end
    return run.out .. run.err
  end

  local function addresses(nodes)
    local set = {}
    for _, node in ipairs(nodes) do set[node.address] = true end
    return set
  end

  -- Returns how many items the nodes did, by the shares of check_map; each did some.
  local function sum(shares, nodes)
    local all = 0
    for _, node in ipairs(nodes) do
      local share = shares[node.address]
      assert.is_truthy(share, ("%s has done nothing\n%s"):format(node.id, rehearsal:events()))
      all = all + share
    end
    return all
  end

  step("the package is built", function()
    packages[1] = rehearsal:package(1).path()
    second = rehearsal:package(2)
  end)

  step("one command brings a release to three instances", function()
    local said = succeeds(deploy("r1"))
    assert.matches("3 of 3 nodes of r1 answer", said, 1, true)
    assert.equal(3, #rehearsal:nodes())
  end)

  step("the driver finds the nodes by their tag, with keys out of SSM", function()
    local rows = rehearsal:await_nodes(driver, "r1", 3)
    local expected = addresses(rehearsal:nodes())
    for _, row in ipairs(rows) do
      assert.equal("r1", row.release)
      assert.is_true(expected[row.address:match("^[%d.]+")], row.address)
      assert.matches("^eu%-west%-1%a$", row.zone)
    end
    local ids = {}
    for _, node in ipairs(rehearsal:nodes()) do
      local id = rehearsal:must(node.id, "cat", "/etc/machine-id")
      assert.is_nil(ids[id], "two instances have one machine-id: " .. id)
      ids[id] = true
      assert.equal("running\n", rehearsal:must(node.id, "systemctl", "is-system-running"))
      local show = rehearsal:must(node.id, "systemctl", "show", "moonfleet", "-p",
        "StatusText,NRestarts")
      assert.matches("NRestarts=0\n", show, 1, true)
      assert.matches("StatusText=.+\n", show)
    end
  end)

  step("scripts/checksum.lua runs over the three", function()
    local list, expected = {}, {}
    for i = 1, FILES do
      rehearsal.world:write(("www/%d"):format(i), sys.random(256):rep(i) .. i)
      list[i] = ("%s/%d"):format(rehearsal.url, i)
    end
    local sums = assert(io.popen(("cd '%s' && seq %d | xargs sha256sum"):format(
      rehearsal.world:path("www"), FILES)))
    for i = 1, FILES do expected[i] = sums:read("l"):match("^%x+") end
    sums:close()
    local words = { "run", "scripts/checksum.lua", rehearsal.world:items(list) }
    local run = rehearsal:driver(driver, words, "r1"):wait()
    assert.equal(0, run.code, run.err)
    local results = e2e.results(run.out)
    assert.equal(FILES, #results)
    for i, result in ipairs(results) do
      assert.equal(list[i], result.item)
      assert.equal(expected[i], result.value.sha256)
    end
    local fetched = e2e.read(rehearsal.world:path("fetched"))
    for _, node in ipairs(rehearsal:nodes()) do
      assert.matches(node.address .. " /", fetched, 1, true)
    end
  end)

  step("AWS refuses to nodes and drivers what is not theirs", function()
    rehearsal:parameter("/moonfleet/other/node")
    rehearsal:parameter("/moonfleet/other/driver")
    local node = rehearsal:role_of(rehearsal:nodes()[1].id)
    local calls, expected = {}, {}
    local function call(outcome, who, service, operation, parameters)
      calls[#calls + 1] = {
        who = who, service = service, operation = operation, parameters = parameters,
      }
      expected[#expected + 1] = ("%s %s"):format(operation, outcome)
    end
    local function reads(who, names)
      for name, outcome in pairs(names) do
        call(outcome, who, "ssm", "get_parameter", { Name = "/moonfleet/" .. name })
      end
    end
    local DENIED = "AccessDenied"
    reads(node, { ["search/node"] = "allowed", ["search/driver"] = DENIED, ["other/node"] = DENIED,
      ["other/driver"] = DENIED })
    reads(driver, { ["search/node"] = DENIED, ["search/driver"] = "allowed",
      ["other/driver"] = DENIED })
    call(DENIED, node, "ssm", "put_parameter",
      { Name = "/moonfleet/search/node", Value = "none", Overwrite = true })
    for _, who in ipairs({ node, driver }) do
      call("allowed", who, "ec2", "describe_instances", { MaxResults = 100 })
      call(DENIED, who, "ec2", "describe_vpcs", { MaxResults = 100 })
      call(DENIED, who, "ec2", "terminate_instances", { InstanceIds = { rehearsal:nodes()[2].id } })
      call(DENIED, who, "iam", "list_roles", { MaxItems = 100 })
    end
    call(DENIED, node, "autoscaling", "complete_lifecycle_action", {
      AutoScalingGroupName = "moonfleet-other", LifecycleHookName = "moonfleet-drain",
      LifecycleActionResult = "CONTINUE", InstanceId = "i-0123456789abcdef0",
    })
    local outcomes = rehearsal:call_aws(calls)
    for i, c in ipairs(calls) do
      outcomes[i] = ("%s %s"):format(c.operation, (outcomes[i]:gsub("Exception$", "")))
    end
    assert.same(expected, outcomes)
    rehearsal:forgive() -- those
  end)

  step("a job reaches no credentials, no keys and no settings of its node", function()
    local node = rehearsal:nodes()[1]
    -- root of the instance does, so that it is the rule that stands between
    rehearsal:role_of(node.id)
    rehearsal:must(node.id, "test", "-s", "/etc/moonfleet/release")
    local said = succeeds(rehearsal:driver(driver, { "run", "spec/deploy/confined_job.lua" }, "r1"))
    assert.matches("ok   .*169%.254%.169%.254", said)
  end)

  step("the units have an exposure of at most 1.5", function()
    rehearsal:must(rehearsal:nodes()[1].id, "systemd-analyze", "security", "--no-pager",
      "--threshold=15", "moonfleet.service", "moonfleet-web.service")
  end)

  step("a map of 20,000 items survives the roll to another release", function()
    local old = rehearsal:nodes()
    local deployment = deploy("r2")
    rehearsal:await_output(deployment, "deploy: looks for the keys") -- its image is made
    local map = rehearsal:map(driver, "roll", { count = ITEMS, seconds = 0.8, release = "*" })
    local said = succeeds(deployment)
    assert.matches("3 of 3 nodes of r2 answer", said, 1, true)
    local new = rehearsal:nodes()
    local err, shares = rehearsal:check_map(map)
    assert.equal(3, #new)
    local before, after = sum(shares, old), sum(shares, new)
    assert.equal(ITEMS, before + after)
    print(("          r1 did %d, r2 %d"):format(before, after))
    for _, release in ipairs({ "r1", "r2" }) do assert.matches(release, err, 1, true) end
    for _, node in ipairs(old) do
      local events = rehearsal:events(node.id)
      assert.matches("hook: CONTINUE, [1-9]%d* heartbeats", events)
      assert.matches("r1", node.tags["moonfleet:release"])
    end
    for _, node in ipairs(new) do assert.equal("r2", node.tags["moonfleet:release"]) end
  end)

  step("a map survives a Spot interruption and a scale-in", function()
    local interrupted, scaled = table.unpack(rehearsal:nodes())
    local map = rehearsal:map(driver, "leave", { count = 6000, seconds = 1, release = "r2" })
    rehearsal:await_results(map, 300)
    rehearsal:interrupt(interrupted.id, NOTICE)
    rehearsal:await_results(map, 800)
    assert.same({ "allowed" }, rehearsal:call_aws({ {
      who = deployer, service = "autoscaling",
      operation = "terminate_instance_in_auto_scaling_group",
      parameters = { InstanceId = scaled.id, ShouldDecrementDesiredCapacity = true },
    } }))
    local _, shares = rehearsal:check_map(map)
    sum(shares, { interrupted, scaled })
    assert.matches("hook: CONTINUE, [1-9]%d* heartbeats", rehearsal:await_event(scaled.id, "gone"))
    -- it had ended before its power went off
    local events = rehearsal:await_event(interrupted.id, "gone")
    assert.matches("node: success, inactive", events, 1, true)
    rehearsal:await_nodes(driver, "r2", 2) -- the group has replaced one of them
  end)

  step("a map survives an upgrade and a downgrade of the package", function()
    packages[2] = second.path()
    local nodes = rehearsal:nodes()
    local node = nodes[1]
    for release, file in ipairs(packages) do
      rehearsal:copy(file, node.id, ("/var/tmp/moonfleet-%d.rpm"):format(release))
    end
    local function version()
      return rehearsal:must(node.id, "rpm", "-q", "--qf", "%{release}", "moonfleet")
    end
    local map = rehearsal:map(driver, "package", { count = 6000, seconds = 0.5, release = "r2" })
    rehearsal:await_results(map, 300)
    local first = version()
    rehearsal:must(node.id, "dnf", "-y", "-q", "upgrade", "/var/tmp/moonfleet-2.rpm")
    assert.are_not.equal(first, version())
    assert.equal("active\n", rehearsal:must(node.id, "systemctl", "is-active", "moonfleet"))
    rehearsal:await_nodes(driver, "r2", #nodes)
    rehearsal:must(node.id, "dnf", "-y", "-q", "downgrade", "/var/tmp/moonfleet-1.rpm")
    assert.equal(first, version())
    local _, shares = rehearsal:check_map(map)
    sum(shares, nodes)
    rehearsal:await_nodes(driver, "r2", #nodes)
    -- the settings of the image are still there
    local changed = rehearsal:inside(node.id, "rpm", "--verify", "--nomtime", "moonfleet").out
    assert.equal("S.5......  c /etc/sysconfig/moonfleet\n", changed)
  end)

  step("every call of node, driver and deployment has been allowed", function()
    assert.equal("", rehearsal:refused())
    local made = rehearsal:calls()
    for _, action in ipairs({
      "ssm:GetParameter", "autoscaling:RecordLifecycleActionHeartbeat",
      "autoscaling:CompleteLifecycleAction",
    }) do
      assert.is_true(made.node[action], "no node has called " .. action)
    end
    for _, action in ipairs({ "ec2:DescribeInstances", "ssm:GetParameter" }) do
      assert.is_true(made.driver[action], "no driver has called " .. action)
    end
    for _, action in ipairs({
      "ec2:CreateImage", "ssm:PutParameter", "cloudformation:ExecuteChangeSet",
    }) do
      assert.is_true(made.deployer[action], "the deployment has not called " .. action)
    end
  end)

  step("nothing is left when the fleet is destroyed", function()
    succeeds(rehearsal:deploy(deployer, { "--destroy", "--yes" }))
    assert.same({ "/moonfleet/other/driver", "/moonfleet/other/node" }, rehearsal:ask("left"))
    assert.equal("", rehearsal:refused())
  end)
end)
