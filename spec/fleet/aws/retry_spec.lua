-- SPDX-License-Identifier: MIT

local retry = require("fleet.aws.retry")

describe("retry.class", function()
  local function class(status, code, kind)
    return retry.class({ kind = kind or "service", status = status, code = code })
  end

  it("tells what is to be tried again", function()
    for _, code in ipairs({ "RequestLimitExceeded", "Throttling", "SlowDown" }) do
      assert.equal("throttled", class(400, code))
      assert.equal("throttled", class(503, code))
    end
    assert.equal("throttled", class(429))
    for _, status in ipairs({ 500, 502, 503, 504 }) do assert.equal("transient", class(status)) end
    assert.equal("transient", class(400, "InternalError"))
    for _, kind in ipairs({ "connect", "timeout", "truncated", "dns", "protocol" }) do
      assert.equal("lost", class(nil, nil, kind))
      assert.equal("lost", class(200, nil, kind)) -- a response that broke off
    end
  end)

  it("tells what is not", function()
    assert.equal("denied", class(403, "UnauthorizedOperation"))
    assert.equal("stale", class(401, "AuthFailure"))
    assert.equal("stale", class(403, "ExpiredToken"))
    assert.equal("final", class(400, "InvalidParameterValue"))
    assert.equal("final", class(404))
    assert.equal("final", class(301))
    for _, kind in ipairs({ "tls", "refused", "too_large", "url", "memory", "system" }) do
      assert.equal("final", class(nil, nil, kind))
    end
  end)
end)

describe("retry.backoff", function()
  it("grows by twos, with full jitter, up to 20 seconds", function()
    local longest = {}
    for attempt = 1, 8 do longest[attempt] = retry.backoff(attempt, 1) end
    assert.same({ 1, 2, 4, 8, 16, 20, 20, 20 }, longest)
    assert.equal(0, retry.backoff(5, 0))
    assert.equal(2, retry.backoff(3, 0.5))
    assert.equal(20, retry.backoff(100000, 1))
  end)
end)

describe("a quota", function()
  it("lets some retries pass, not many", function()
    local quota = retry.quota()
    local n = 0
    while quota:take("throttled") do n = n + 1 end
    assert.equal(100, n)
    for _ = 1, 9 do quota:give(nil) end
    assert.is_nil(quota:take("lost"))
    assert.equal(5, quota:take("transient"))
    quota:give(5)
    quota:give(nil)
    assert.equal(10, quota:take("lost"))
  end)
end)
