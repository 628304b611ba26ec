-- SPDX-License-Identifier: MIT

local container = require("fleet.aws.container")
local fake_aws = require("spec.support.fake_aws")

local GOOD = '{"AccessKeyId": "A", "SecretAccessKey": "S", "Token": "T", '
  .. '"Expiration": "2026-11-27T03:08:34Z"}'

local function ask(env, status, body, files)
  local fake = fake_aws.new({ env = env, files = files, answer = function()
    return status or 200, body or GOOD
  end })
  local c, err = container.credentials(fake:settings(), fake:options())
  return c, err, fake
end

describe("the container's credentials", function()
  it("are none when nothing names them", function()
    assert.is_nil((ask({})))
    assert.is_nil(select(2, ask({})))
  end)

  it("come from ECS by a path", function()
    local c, _, fake = ask({ AWS_CONTAINER_CREDENTIALS_RELATIVE_URI = "/v2/x?id=1",
      AWS_CONTAINER_CREDENTIALS_FULL_URI = "http://127.0.0.1/" })
    assert.same({ "A", "S", "T", 1795748914, "the container" },
      { c.key, c.secret, c.token, c.expires, c.source })
    assert.equal("http://169.254.170.2/v2/x?id=1", fake.asked[1].url)
    assert.is_true(fake.asked[1].metadata)
  end)

  it("come from URLs of this machine, EKS, or by TLS only", function()
    for _, url in ipairs({ "http://127.0.0.1/x", "http://127.9.9.9:80", "http://[::1]:8080/x?y",
      "http://localhost/x", "http://169.254.170.2/x", "http://169.254.170.23/v1/credentials",
      "http://[fd00:ec2::23]/v1", "https://example.org/x" }) do
      local c, err, fake = ask({ AWS_CONTAINER_CREDENTIALS_FULL_URI = url })
      assert(c, err)
      assert.equal(url, fake.asked[1].url)
    end
    for _, url in ipairs({ "http://example.org/", "http://127.0.0.1.example.org/",
      "ftp://127.0.0.1/",
      "http://127.0.0.1@example.org/", "http://localhost:80@example.org/", "http://169.254.170.3/",
      "https://u@example.org/", "http://127.0.0.1\r\n/", "127.0.0.1", "http://1270.0.0.1/" }) do
      local c, err, fake = ask({ AWS_CONTAINER_CREDENTIALS_FULL_URI = url })
      assert.is_nil(c, url)
      assert.equal("config", err.kind)
      assert.equal(0, #fake.asked)
    end
    assert.equal("config", select(2, ask({ AWS_CONTAINER_CREDENTIALS_RELATIVE_URI = "x" })).kind)
  end)

  it("are asked for with the container's token", function()
    local env = { AWS_CONTAINER_CREDENTIALS_FULL_URI = "http://169.254.170.23/",
      AWS_CONTAINER_AUTHORIZATION_TOKEN = "Basic abc" }
    local _, _, fake = ask(env)
    assert.equal("Basic abc", fake.asked[1].headers.authorization)
    env.AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE = "/token"
    _, _, fake = ask(env, nil, nil, { ["/token"] = "from-file\n" })
    assert.equal("from-file", fake.asked[1].headers.authorization)
    local c, err = ask(env)
    assert.is_nil(c)
    assert.matches("/token: there is no such file", err.message)
    c, err = ask(env, nil, nil, { ["/token"] = "hidden\0" })
    assert.is_nil(c)
    assert.not_matches("hidden", err.message)
  end)

  it("are asked for at a place that no error shows", function()
    for variable, value in pairs({
      AWS_CONTAINER_CREDENTIALS_RELATIVE_URI = "/v2/hidden?token=hidden",
      AWS_CONTAINER_CREDENTIALS_FULL_URI = "http://127.0.0.1:80/hidden?token=hidden",
    }) do
      for _, status in ipairs({ 404, false }) do
        local fake = fake_aws.new({ env = { [variable] = value }, answer = function()
          return status, status and "hidden" or "connect"
        end })
        local c, err = container.credentials(fake:settings(), fake:options())
        assert.is_nil(c)
        assert.not_matches("hidden", err.message)
        assert.matches("http://1[%d.:]+ %(" .. variable .. "%)", err.message)
        assert.matches(status and "answered 404" or "no connection could be made", err.message)
      end
    end
  end)

  it("that do not come are an error, and show nothing", function()
    local env = { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI = "/x" }
    for _, row in ipairs({ { 404, "hidden", "answered 404" },
      { 200, "hidden", "not a JSON object" },
      { 200, '{"AccessKeyId": "hidden x"}', "no valid access key id" },
      { 200, '{"Expiration": "hidden"}', "no valid Expiration" } }) do
      local c, err = ask(env, row[1], row[2])
      assert.is_nil(c)
      assert.equal("credentials", err.kind)
      assert.matches(row[3], err.message)
      assert.not_matches("hidden", err.message)
    end
  end)
end)
