-- SPDX-License-Identifier: MIT
-- The life of an instance in its Auto Scaling group, with a metadata service and the lifecycle
-- actions of Auto Scaling that stand in for AWS: warm pools, scale-in, Spot interruptions.
-- Patient: nodes poll every 5 s.

local aws = require("spec.support.aws")
local e2e = require("spec.support.e2e")
local session = require("spec.support.session")

local STATE = "autoscaling/target-lifecycle-state"
-- What the fake metadata service gives first.
local CREDENTIALS = { key = "ASIA1", secret = "secret1", token = "token1" }

describe("an instance of an Auto Scaling group", function()
  local world, imds, group
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  local function begin(pending, hook)
    imds = aws.imds(world)
    group = aws.auto_scaling(world, CREDENTIALS, "moonfleet-search", hook or "moonfleet-drain",
      pending)
  end

  local function environment()
    return {
      "AWS_EC2_METADATA_SERVICE_ENDPOINT=" .. imds.url .. "/calm", "AWS_CA_BUNDLE=",
      "AWS_ENDPOINT_URL_AUTO_SCALING=" .. group.url, "HOME=" .. world.dir, "no_proxy=127.0.0.1",
    }
  end

  local function serve(more)
    local options = { workers = 1, flags = { "--discover", "ec2" }, env = environment() }
    for name, value in pairs(more or {}) do options[name] = value end
    return world:node(options)
  end

  -- A run of one item that stays on the node called "first", and no longer elsewhere.
  local function run(...)
    local addresses = {}
    for i, node in ipairs({ ... }) do addresses[i] = node.address end
    return world:program({ "run", "--items", "--release", "abc123", "--peers",
      table.concat(addresses, ","), world:write("job.lua", [[
        local fleet = require("fleet")
        return { map = function(x)
          if fleet.self().node == "first" then fleet.sleep(tonumber(x)) end
          return fleet.self().node
        end }
      ]]), "8", "1000" })
  end

  local function await_task(node)
    e2e.wait_until("a running task", function()
      local peer = session.dial("tcp://" .. node.address)
      local status = session.ask(peer, "status")[2]
      peer:close()
      return status.running > 0
    end)
  end

  local function wait_for(process, pattern, seconds)
    e2e.wait_until(pattern, function() return process:err():find(pattern) end, seconds or 20)
  end

  it("keeps the group waiting while its node drains, and tells it when that is done", function()
    begin(pending)
    local node = serve({ name = "first" })
    local program = world:program({ "run", "--items", "--release", "abc123", "--peers",
      node.address, world:write("job.lua", [[
        return { map = function(x) require("fleet").sleep(9) return x end }
      ]]), "a" })
    await_task(node)
    imds.set(STATE, "Terminated")
    wait_for(node, "Auto Scaling: target lifecycle state Terminated")
    wait_for(group, "RecordLifecycleActionHeartbeat\n")
    node:kill("TERM") -- the service is stopped meanwhile: it drains already
    local done = program:wait(30)
    assert.same({ { item = "a", value = "a" } }, e2e.results(done.out))
    local ended = node:wait()
    assert.equal(0, ended.code)
    assert.matches("the Auto Scaling group knows that this node has drained", ended.err)
    assert.equal("RecordLifecycleActionHeartbeat\nCompleteLifecycleAction\n", group:err())
    assert.not_matches("secret1", ended.err)
    assert.not_matches("token1", ended.err)
  end)

  it("completes the action also when it is stopped twice", function()
    begin(pending)
    local node = serve({ name = "first" })
    local program = run(node)
    await_task(node)
    imds.set(STATE, "Terminated")
    wait_for(node, "draining")
    node:kill("TERM")
    node:kill("TERM")
    assert.equal(0, node:wait(10).code)
    assert.matches("CompleteLifecycleAction\n", group:err()) -- a heartbeat may be under way
    program:kill("TERM")
  end)

  it("drains unharmed when there is no such hook, and says so", function()
    begin(pending, "another")
    local node = serve()
    imds.set(STATE, "Terminated")
    local ended = node:wait(20)
    assert.equal(0, ended.code)
    assert.matches("no hook moonfleet%-drain waits for this instance", ended.err)
    begin(pending, "another")
    imds.set(STATE, "InService")
    node = serve({ flags = { "--discover", "ec2", "--lifecycle-hook", "another" } })
    imds.set(STATE, "Terminated")
    assert.equal(0, node:wait(20).code)
    assert.matches("CompleteLifecycleAction\n$", group:err())
  end)

  it("completes nothing when it is only stopped", function()
    begin(pending)
    local node = serve()
    node:kill("TERM")
    assert.equal(0, node:wait().code)
    assert.equal("", group:err())
  end)

  it("waits in a warm pool, and serves when it is in service", function()
    begin(pending)
    imds.set(STATE, "Warmed:Stopped")
    local port = e2e.free_port()
    local node = world:program({ "serve", "--discover", "ec2", "--workers", "1", "--listen",
      "127.0.0.1:" .. port }, { env = environment() })
    wait_for(node, "waiting in the warm pool")
    assert.not_matches("node ready", node:err())
    assert.equal(0, #node:children())
    imds.set(STATE, "InService")
    wait_for(node, "node ready")
    imds.set(STATE, "Warmed:Running") -- back into the pool
    local ended = node:wait(20)
    assert.equal(1, ended.code)
    assert.matches("the instance goes into its warm pool: a node that is started there waits",
      ended.err)
    assert.matches("CompleteLifecycleAction\n$", group:err())
    -- and a node that only waits can be stopped
    node = world:program({ "serve", "--discover", "ec2", "--listen", "127.0.0.1:" .. port },
      { env = environment() })
    wait_for(node, "waiting in the warm pool")
    node:kill("TERM")
    assert.equal(0, node:wait().code)
  end)

  it("gives up what a Spot interruption leaves no time for, and another node runs it", function()
    begin(pending)
    local first = serve({ name = "first", workers = 2 })
    local second = world:node({ name = "second", workers = 1, flags = { "--release", "abc123" } })
    second:kill("STOP") -- so that both items begin on the first
    local program = run(first, second)
    await_task(first)
    second:kill("CONT")
    imds.set("spot/instance-action", ('{"action": "terminate", "time": "%s"}'):format(
      os.date("!%Y-%m-%dT%H:%M:%SZ", os.time() + 17)))
    imds.notice()
    local began = os.time()
    local done = program:wait(40)
    assert.is_true(os.time() - began < 15, os.time() - began)
    assert.equal(0, done.code, done.err)
    for _, result in ipairs(e2e.results(done.out)) do assert.equal("second", result.value) end
    local ended = first:wait()
    assert.equal(0, ended.code)
    assert.matches("tasks still run, and there is no more time to drain", ended.err)
  end)
end)
