-- SPDX-License-Identifier: MIT

local fake_aws = require("spec.support.fake_aws")
local metadata = require("fleet.aws.metadata")

local LIMITS = { connect = 1, attempt = 2, total = 5, attempts = 3 }

local function ask(answers, limits)
  local fake = fake_aws.new({
    answer = function(_, _, n) return table.unpack(answers[n], 1, 2) end,
  })
  local answer, err = metadata.request(fake:options(), "http://here/", {}, limits or LIMITS)
  return answer, err, fake
end

describe("metadata.request", function()
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
