-- SPDX-License-Identifier: MIT

local fake_aws = require("spec.support.fake_aws")
local fleet_aws = require("fleet.aws")

local function refuses(status, code, headers)
  return function()
    return status, ("<Response><Errors><Error><Code>%s</Code><Message>m</Message></Error></Errors>"
      .. "</Response>"):format(code), headers
  end
end
local function lost(kind) return function() return nil, kind end end
local function well() return 200, "<ok/>" end

describe("a call", function()
  local fake, view

  -- A world whose n-th answer is answers[n], the last one for ever.
  local function world(answers, env)
    env = env or {}
    env.AWS_REGION = env.AWS_REGION or "eu-west-1"
    env.AWS_ACCESS_KEY_ID, env.AWS_SECRET_ACCESS_KEY = "AKID", "s3cr3t"
    env.AWS_SESSION_TOKEN = "t0k3n"
    fake = fake_aws.new({ env = env, answer = function(url, q, n)
      return (answers[n] or answers[#answers])(url, q, n)
    end })
    view = fleet_aws.new(fake:options())
    return view
  end

  local function call()
    return view:query("ec2", "2016-11-15", "DescribeInstances", { MaxResults = 1000 })
  end

  local function fails(code)
    local body, err = call()
    assert.is_nil(body)
    assert.equal(code, err.code or err.kind)
    assert.not_matches("s3cr3t", err.message .. fake.said)
    assert.not_matches("t0k3n", err.message .. fake.said)
    return err
  end

  it("is one signed form", function()
    world({ well })
    assert.equal("<ok/>", call())
    assert.equal(1, #fake.asked)
    local q = fake.asked[1]
    assert.equal("https://ec2.eu-west-1.amazonaws.com/", q.url)
    assert.equal("POST", q.method)
    assert.equal("Action=DescribeInstances&MaxResults=1000&Version=2016-11-15", q.body)
    assert.same({ service = "ec2", region = "eu-west-1", key = "AKID", secret = "s3cr3t" }, q.sign)
    assert.same({
      ["content-type"] = "application/x-www-form-urlencoded; charset=utf-8",
      ["x-amz-security-token"] = "t0k3n",
    }, q.headers)
    assert.equal("environment", q.proxy)
    assert.is_nil(q.metadata)
    assert.equal(0, q.max_redirects)
    assert.equal(32 * 1024 * 1024, q.max_bytes)
  end)

  it("is tried three times, with growing pauses, when the trouble passes", function()
    for _, trouble in ipairs({ refuses(503, "RequestLimitExceeded"), refuses(500, "InternalError"),
      lost("connect"), lost("timeout"), lost("truncated"), function() return 502, "bad gateway" end,
      function() return 429 end }) do
      world({ trouble, trouble, well })
      assert.equal("<ok/>", call())
      assert.same({ 0.5, 1 }, fake.slept)
    end
    world({ refuses(503, "RequestLimitExceeded") })
    local err = fails("RequestLimitExceeded")
    assert.matches("%(tried 3 times%)$", err.message)
    assert.equal(3, #fake.asked)
    world({ lost("timeout") })
    assert.matches("NAT gateway.*%(tried 3 times%)$", fails("timeout").message)
  end)

  it("is tried as often as is configured", function()
    world({ lost("connect") }, { AWS_MAX_ATTEMPTS = "5", AWS_RETRY_MODE = "adaptive" })
    fails("connect")
    assert.equal(5, #fake.asked)
    world({ lost("connect") }, { AWS_MAX_ATTEMPTS = "1" })
    fails("connect")
    assert.equal(1, #fake.asked)
    world({ well }, { AWS_MAX_ATTEMPTS = "none" })
    assert.matches("AWS_MAX_ATTEMPTS must be", fails("config").message)
    world({ well }, { AWS_RETRY_MODE = "hasty" })
    assert.matches("AWS_RETRY_MODE", fails("config").message)
    assert.equal(0, #fake.asked)
  end)

  it("waits as long as the service asks, within reason", function()
    for header, seconds in pairs({ ["3"] = 3, ["0"] = 0.5, ["900"] = 20, junk = 0.5,
      [os.date("!%a, %d %b %Y %H:%M:%S GMT", 1700000007)] = 7 }) do
      world({ refuses(503, "SlowDown", { ["retry-after"] = header }), well })
      assert.equal("<ok/>", call())
      assert.same({ seconds }, fake.slept)
    end
  end)

  it("is not tried again when that cannot help", function()
    for _, row in ipairs({ { 403, "UnauthorizedOperation" }, { 400, "InvalidParameterValue" },
      { 403, "AccessDenied" }, { 404, "x" } }) do
      world({ refuses(row[1], row[2]) })
      fails(row[2])
      assert.equal(1, #fake.asked)
    end
    world({ lost("tls") })
    fails("tls")
    assert.equal(1, #fake.asked)
    world({ lost("too_large") })
    fails("too_large")
    assert.equal(1, #fake.asked)
  end)

  it("does not go on retrying when everything fails", function()
    world({ lost("timeout") })
    for _ = 1, 60 do call() end
    assert.equal(60 + 50, #fake.asked) -- 500 tokens, 10 each
    world({ refuses(503, "SlowDown") })
    for _ = 1, 60 do call() end
    assert.equal(60 + 100, #fake.asked)
  end)

  it("gets other credentials once when its own are not taken", function()
    for _, code in ipairs({ "ExpiredToken", "AuthFailure", "RequestExpired",
      "InvalidClientTokenId" }) do
      world({ refuses(401, code), well })
      fails(code) -- there are no others
      assert.equal(1, #fake.asked)
      world({ refuses(401, code), well })
      assert(view.credentials:get())
      fake.env.AWS_ACCESS_KEY_ID = "AKID2"
      assert.equal("<ok/>", call())
      assert.same({ "AKID", "AKID2" }, { fake.asked[1].sign.key, fake.asked[2].sign.key })
      world({ refuses(401, code) })
      assert(view.credentials:get())
      fake.env.AWS_ACCESS_KEY_ID = "AKID2"
      fails(code)
      assert.equal(2, #fake.asked)
      assert.same({}, fake.slept)
    end
  end)

  it("says how wrong the clock is", function()
    world({ refuses(400, "RequestExpired", { date = "Tue, 14 Nov 2023 20:13:20 GMT" }) })
    assert.matches("the clock of this machine is 7200 s ahead", fails("RequestExpired").message)
    assert.equal(1, #fake.asked)
  end)

  it("needs a region and credentials", function()
    world({ well })
    fake.env.AWS_REGION = nil
    fake.env.AWS_EC2_METADATA_DISABLED = "true"
    assert.matches("no AWS region", fails("config").message)
    world({ well })
    fake.env.AWS_ACCESS_KEY_ID = nil
    assert.matches("AWS_SECRET_ACCESS_KEY is set", fails("credentials").message)
    assert.equal(0, #fake.asked)
  end)
end)
