-- SPDX-License-Identifier: MIT

local aws = require("spec.support.aws")
local e2e = require("spec.support.e2e")
local fake_aws = require("spec.support.fake_aws")
local fleet_aws = require("fleet.aws")
local request = require("fleet.aws.imds").request
local task = require("host.task")

describe("the metadata service", function()
  local world, server

  setup(function()
    world = e2e.new()
    server = aws.imds(world)
  end)
  teardown(function() world:close() end)

  -- The client for a mode of the server, and what is set in its environment.
  local function client(mode, env)
    env = env or {}
    env.AWS_EC2_METADATA_SERVICE_ENDPOINT = server.url .. "/" .. mode
    env.AWS_METADATA_SERVICE_TIMEOUT = env.AWS_METADATA_SERVICE_TIMEOUT or "30"
    return fleet_aws.new({ getenv = function(name) return env[name] end }).imds
  end

  local function count(method, mode, path)
    return server.counts()[("%s /%s/latest/%s"):format(method, mode, path)] or 0
  end

  local function fails(kind, pattern, value, err)
    assert.is_nil(value)
    assert.equal(kind, err.kind, err.message)
    assert.matches(pattern, err.message)
    return err
  end

  it("gives what is asked, by one token", function()
    local imds = client("ok")
    for _ = 1, 2 do
      assert.equal("i-0123456789abcdef0", imds:instance_id())
      assert.equal("eu-west-1", imds:region())
      assert.equal("eu-west-1b", imds:zone())
    end
    assert.equal("abc123", imds:tag("moonfleet:release"))
    assert.equal("InService", imds:lifecycle_state())
    assert.same({ action = "terminate", time = 1795748914 }, imds:spot_action())
    local role = assert(imds:role_credentials())
    assert.equal("the instance, role moonfleet", role.source)
    assert.matches("^ASIA", role.key)
    assert.equal(1, count("PUT", "ok", "api/token"))
    for _, path in ipairs({ "instance-id", "placement/region", "placement/availability-zone" }) do
      assert.equal(1, count("GET", "ok", "meta-data/" .. path))
    end
  end)

  it("has nothing, and no error, for what is absent", function()
    local imds = client("ok")
    assert.same({}, { imds:tag("no such tag/?") })
    assert.same({}, { imds:rebalance() })
    local body, err = imds:get("meta-data/nothing")
    assert.is_nil(body)
    assert.equal(404, err.status)
  end)

  it("is asked for one token by many who come at once", function()
    local imds = client("slow")
    local left, done = 20, task.event()
    for _ = 1, 20 do
      task.spawn(function()
        assert(imds:current_token())
        left = left - 1
        if left == 0 then done:notify() end
      end)
    end
    assert(done:wait(60))
    assert.equal(1, count("PUT", "slow", "api/token"))
  end)

  it("is asked for another token, once, when it does not take ours", function()
    local imds = client("forgetful")
    for i = 1, 3 do
      assert.equal("i-0123456789abcdef0", imds:get("meta-data/instance-id"))
      assert.equal(i, count("PUT", "forgetful", "api/token"))
    end
    imds.token.text = "another"
    imds.current_token = function(self) return self.token end
    assert.equal(401, fails("service", "rejects the token", imds:get("meta-data/x")).status)
  end)

  it("that is off or knows only version 1 is an error at once", function()
    fails("service", "answered 403 .*switched off", client("forbidden"):region())
    assert.equal(1, count("PUT", "forbidden", "api/token"))
    fails("service", "does not support version 2, and version 1 is never used",
      client("v1"):region())
    assert.equal(0, count("GET", "v1", "meta-data/placement/region"))
  end)

  it("that is busy is asked again", function()
    assert.equal("eu-west-1", client("throttled/2"):region())
    assert.equal(429, fails("service", "answered 429", client("throttled/9"):region()).status)
    assert.equal(3, count("PUT", "throttled/9", "api/token"))
  end)

  it("that answers half, garbage, or a redirect is an error", function()
    local err = fails("truncated", "", client("half"):region())
    assert.matches("ended early", err.message)
    fails("protocol", "gave no valid meta%-data/placement/region", client("garbage"):region())
    local imds = client("garbage")
    for _, name in ipairs({
      "spot_action", "rebalance", "lifecycle_state", "instance_id", "zone",
    }) do
      fails("protocol", "gave no valid", imds[name](imds))
    end
    assert.is_nil(imds:role_credentials())
    fails("service", "answered 302", client("redirect"):region())
    assert.equal(0, count("GET", "redirect", "meta-data/placement/region"))
  end)

  it("that does not answer is given up soon, with a hint", function()
    local started = os.time()
    local imds = client("silent", {
      AWS_METADATA_SERVICE_TIMEOUT = "1", AWS_METADATA_SERVICE_NUM_ATTEMPTS = "1",
    })
    fails("timeout", "not on EC2.*hop limit is too low.*hop%-limit 2", imds:region())
    assert.is_true(os.time() - started < 20)
    local gone = client("x")
    gone.settings.getenv = function(name)
      return name == "AWS_EC2_METADATA_SERVICE_ENDPOINT"
        and "http://127.0.0.1:" .. e2e.free_port() or nil
    end
    fails("connect", "no answer from the instance metadata service", gone:region())
  end)
end)

describe("the metadata client", function()
  local TOKEN = { 200, "token", { ["x-aws-ec2-metadata-token-ttl-seconds"] = "21600" } }

  local function client(fields)
    local fake = fake_aws.new(fields)
    return fleet_aws.new(fake:options()).imds, fake
  end

  it("goes to the address of the mode, or of the variable, without a proxy", function()
    for wanted, env in pairs({
      ["http://169.254.169.254"] = { AWS_EC2_METADATA_V1_DISABLED = "true" },
      ["http://[fd00:ec2::254]"] = { AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE = "IPv6" },
      ["http://127.0.0.1:5/x"] = { AWS_EC2_METADATA_SERVICE_ENDPOINT = "http://127.0.0.1:5/x/",
        AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE = "ipv4" },
    }) do
      local imds, fake = client({ env = env, answer = function() return table.unpack(TOKEN) end })
      assert(imds:get("meta-data/x"))
      assert.equal(wanted .. "/latest/api/token", fake.asked[1].url)
      assert.equal("PUT", fake.asked[1].method)
      assert.equal(21600, fake.asked[1].headers["x-aws-ec2-metadata-token-ttl-seconds"])
      assert.equal("token", fake.asked[2].headers["x-aws-ec2-metadata-token"])
      for _, q in ipairs(fake.asked) do
        assert.is_true(q.metadata)
        assert.is_nil(q.proxy)
        assert.equal(0, q.max_redirects)
        assert.equal(65536, q.max_bytes)
        assert.equal(1, q.connect_timeout)
        assert.equal(2, q.timeout)
      end
    end
  end)

  it("asks nothing when it is switched off or wrongly configured", function()
    for name, values in pairs({
      AWS_EC2_METADATA_DISABLED = { "true", "yes" }, AWS_EC2_METADATA_V1_DISABLED = { "1" },
      AWS_EC2_METADATA_SERVICE_ENDPOINT = { "169.254.169.254", "http://a@b/", "http://x/?q" },
      AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE = { "ipv5" },
      AWS_METADATA_SERVICE_NUM_ATTEMPTS = { "0", "many" }, AWS_METADATA_SERVICE_TIMEOUT = { "-1" },
    }) do
      for _, value in ipairs(values) do
        local body, err = client({ env = { [name] = value } }):get("meta-data/x")
        assert.is_nil(body)
        assert.equal(value == "true" and "refused" or "config", err.kind)
        assert.matches(name, err.message)
      end
    end
  end)

  it("renews its token before the end", function()
    local imds, fake = client({ answer = function() return table.unpack(TOKEN) end })
    assert(imds:get("a"))
    fake.clock = fake.clock + 21600 - 61
    assert(imds:get("b"))
    assert.equal(3, #fake.asked)
    fake.clock = fake.clock + 1
    assert(imds:get("c"))
    assert.equal(5, #fake.asked)
    assert.equal("PUT", fake.asked[4].method)
  end)

  it("takes no token that could be two headers", function()
    for _, token in ipairs({ "", "a\r\nX: y", "a b", ("t"):rep(2000) }) do
      local imds, fake = client({ answer = function() return 200, token end })
      local body, err = imds:get("a")
      assert.is_nil(body)
      assert.equal("protocol", err.kind)
      assert.equal(1, #fake.asked)
    end
  end)

  it("spends no more than five seconds on a question", function()
    local imds, fake
    imds, fake = client({
      env = { AWS_METADATA_SERVICE_NUM_ATTEMPTS = "50" },
      answer = function(_, q)
        fake.clock = fake.clock + q.timeout
        return nil, "timeout"
      end,
    })
    local start = fake.clock
    assert.is_nil(imds:get("a"))
    assert.is_true(fake.clock - start <= 5.2, fake.clock - start)
    assert.is_true(#fake.asked >= 3)
  end)
end)

local LIMITS = { connect = 1, attempt = 2, total = 5, attempts = 3 }

local function ask(answers, limits)
  local fake = fake_aws.new({
    answer = function(_, _, n) return table.unpack(answers[n], 1, 2) end,
  })
  local answer, err = request(fake:options(), "http://here/", {}, limits or LIMITS)
  return answer, err, fake
end

describe("imds.request", function()
  it("asks again when the trouble passes", function()
    for _, trouble in ipairs({ { 429 }, { 500 }, { 503 }, { nil, "timeout" }, { nil, "connect" },
      { nil, "truncated" }, { nil, "protocol" } }) do
      local answer, _, fake = ask({ trouble, trouble, { 200, "x" } })
      assert.equal("x", answer.body)
      assert.same({ 0.1, 0.2 }, fake.slept)
    end
  end)

  it("takes any other answer as it is", function()
    for _, status in ipairs({ 200, 302, 400, 401, 403, 404 }) do
      local answer, _, fake = ask({ { status, "x" } })
      assert.equal(status, answer.status)
      assert.equal(1, #fake.asked)
    end
    local answer, err, fake = ask({ { nil, "too_large" } })
    assert.is_nil(answer)
    assert.equal("too_large", err.kind)
    assert.equal(1, #fake.asked)
  end)

  it("ends after so many attempts, with the last outcome", function()
    local answer, _, fake = ask({ { nil, "connect" }, { 500 }, { 503, "z" } })
    assert.equal(503, answer.status)
    assert.equal(3, #fake.asked)
    local none, err = ask({ { 500 }, { nil, "timeout" } }, { connect = 1, attempt = 2, total = 5,
      attempts = 2 })
    assert.is_nil(none)
    assert.equal("timeout", err.kind)
  end)
end)
