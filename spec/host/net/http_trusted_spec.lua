-- SPDX-License-Identifier: MIT
-- What host.http does for the program's own requests only: signatures, the instance's own
-- services, a proxy. http_test.c shows that states with jobs may not.

local aws = require("spec.support.aws")
local e2e = require("spec.support.e2e")
local fault = require("spec.support.fault")
local request = require("host.http").request

local SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
local FORM = { ["content-type"] = "application/x-www-form-urlencoded; charset=utf-8" }

local function sign(changes)
  local fields = { service = "ec2", region = "eu-west-1", key = "AKIDEXAMPLE", secret = SECRET }
  for name, value in pairs(changes or {}) do fields[name] = value end
  return fields
end

describe("a signed request", function()
  local world, server

  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  local function post(options)
    options.method = "POST"
    options.headers = options.headers or FORM
    options.body = options.body or "Action=DescribeInstances&Version=2016-11-15"
    return assert(request(options.url or server.url, "buffer", options))
  end

  it("has the signature that botocore computes", function()
    server = aws.verifier(world, { key = "AKIDEXAMPLE", secret = SECRET })
    for _, body in ipairs({ "A=1", "A=a+b%2F%7E~&B=", "A=" .. ("x"):rep(100000), "A=%00%FF" }) do
      local answer = post({ sign = sign(), body = body })
      assert.equal(200, answer.status, answer.body)
      assert.matches("^ec2 eu%-west%-1 %d+T%d+Z$", answer.body)
    end
    assert.equal(200, post({ sign = sign({ service = "sts" }) }).status)
    assert.equal(403, post({ sign = sign({ secret = "another" }) }).status)
    assert.equal(403, post({}).status)
  end)

  it("signs a session token that is given as a header", function()
    server = aws.verifier(world, { key = "AKIDEXAMPLE", secret = SECRET, token = "IQoJ//+=" })
    local headers = { ["x-amz-security-token"] = "IQoJ//+=" }
    for name, value in pairs(FORM) do headers[name] = value end
    local answer = post({ sign = sign(), headers = headers })
    assert.equal(200, answer.status, answer.body)
    assert.equal(403, post({ sign = sign() }).status)
  end)

  it("leaves nothing behind for the next", function()
    server = aws.verifier(world, { key = "AKIDEXAMPLE", secret = SECRET })
    for _ = 1, 3 do
      assert.equal(200, post({ sign = sign() }).status)
      for _, options in ipairs({ {}, { method = "POST", body = "A=1" }, { metadata = true } }) do
        local plain = assert(request(server.url .. "open", "buffer", options))
        assert.equal(200, plain.status)
        assert.not_matches("[Aa]uthorization", plain.body)
        assert.not_matches("[Xx]%-[Aa]mz", plain.body)
      end
      local other = post({ sign = sign({ secret = "another" }) })
      assert.matches("^signature", other.body)
    end
  end)
end)

describe("options of a trusted state", function()
  local server

  setup(function() server = fault.start() end)
  teardown(function() server.stop() end)

  local function refuses(pattern, options, url)
    local ok, why = pcall(request, url or server.url .. "/ok", "buffer", options)
    assert.is_false(ok)
    assert.matches(pattern, why)
    assert.not_matches("secret of mine", why)
  end

  it("are checked, and messages about them have no secret", function()
    local with = { method = "POST", body = "A=1" }
    for _, bad in ipairs({ sign({ region = "EU West" }), sign({ service = "" }), {},
      { key = "k", secret = "secret of mine" }, sign({ key = false }), sign({ secret = "a\0b" }),
      sign({ secret = ("s"):rep(5000) }) }) do
      with.sign = bad
      refuses("sign must have the strings service, region, key and secret", with)
    end
    with.sign = "secret of mine"
    refuses("sign must be a table", with)
    refuses("only a POST with a body", { sign = sign() })
    refuses("only a POST with a body", { sign = sign(), method = "PUT", body = "A=1" })
    with.sign = sign()
    refuses("without a query is signed", with, server.url .. "/ok?a=1")
    refuses("proxy must be", { proxy = "http://proxy:3128" })
    refuses("proxy must be", { proxy = "environment", metadata = true })
  end)

  it("follow no redirects", function()
    for _, options in ipairs({ { metadata = true }, { proxy = "environment" },
      { sign = sign(), method = "POST", body = "A=1" } }) do
      local answer = assert(request(server.url .. "/redirect/1", "buffer", options))
      assert.equal(302, answer.status)
    end
  end)

  it("let only a metadata request reach a link-local address", function()
    for _, address in ipairs({ "169.254.169.253", "[fd00:ec2::253]", "[fe80::1]" }) do
      local url = "http://" .. address .. ":9/"
      local limits = { connect_timeout = 0.2, timeout = 0.2 }
      local _, err = request(url, "buffer", limits)
      assert.equal("refused", err.kind)
      limits.metadata = true
      _, err = request(url, "buffer", limits)
      assert.not_equal("refused", err and err.kind)
    end
    local _, err = request("http://224.0.0.1/", "buffer", { metadata = true })
    assert.equal("refused", err.kind)
  end)

  it("use a proxy of the environment only if an option says so", function()
    local world = e2e.new()
    local script = world:write("proxied.lua", [[
      local request = require("host.http").request
      for _, options in ipairs({ {}, { metadata = true }, { proxy = "environment" } }) do
        local answer, err = request(arg[1], "buffer", options)
        print(answer and answer.status or err.kind)
      end]])
    local port = server.url:match(":(%d+)$")
    local url = ("http://127.0.0.1:%d/ok"):format(e2e.free_port())
    local env = { "http_proxy=http://127.0.0.1:" .. port, "no_proxy=" }
    -- a proxy gets the whole URL, which the server does not know
    local run = world:run({ "run", script, "--", url }, { env = env })
    assert.equal("connect\nconnect\n404\n", run.out, run.err)
    env[2] = "no_proxy=127.0.0.1"
    assert.equal("connect\nconnect\nconnect\n", world:run({ "run", script, "--", url },
      { env = env }).out)
    world:close()
  end)

  it("report the reply of a proxy that refuses", function()
    local world = e2e.new()
    local script = world:write("proxied.lua", [[
      local request = require("host.http").request
      local answer, err = request("https://example.org/", "buffer", { proxy = "environment" })
      print(answer and answer.status or err.kind .. " " .. err.message)]])
    local port = server.url:match(":(%d+)$")
    local run = world:run({ "run", script },
      { env = { "https_proxy=http://127.0.0.1:" .. port, "no_proxy=" } })
    world:close()
    assert.matches("^refused https://example.org/: the proxy refused the connection: .*404",
      run.out)
  end)
end)
