-- SPDX-License-Identifier: MIT
-- What a session makes of records; more is in the spec of fleet.cluster.session.

local codec = require("host.codec")
local events = require("fleet.cluster.events")

local function records(...)
  local out = {}
  for i, record in ipairs({ ... }) do out[i] = assert(codec.encode(record)) end
  return table.concat(out)
end

describe("events.receive", function()
  local s, results

  before_each(function()
    results = {}
    local job = {
      number = 1, report = function() end, arrived = function() results.arrived = true end,
      sink = { result = function(_, worker, id, _, ok, value, bytes)
        value = ok and value or value.kind
        results[#results + 1] = { worker and worker.index, id, ok, value, bytes }
      end },
    }
    s = {
      connection = { name = "n" }, workers = { { index = 1, generation = 3 } },
      jobs = { job, by_number = { job } }, ack = 0, early = {}, touched = {}, late = 0,
    }
  end)

  local function report(job, generation)
    return { 0, "report", 1,
      { generation = generation, job = job, n = 1, cpu = 0, wall = 0, bytes = 7 } }
  end

  it("gives results to their job, chunk after chunk", function()
    local second = records(report(1, 3), { 2, 1, false, { kind = "raise", message = "no" } })
    assert.is_true(events.receive(s, 2, second))
    assert.same({}, results)
    assert.is_true(events.receive(s, 1, records(report(1, 3), { 1, 1, true, "one" })))
    assert.is_true(events.receive(s, 1, records(report(1, 3), { 1, 1, true, "again" })))
    assert.same({ { 1, 1, true, "one", 7 }, { 1, 2, false, "raise", 7 }, arrived = true }, results)
    assert.equal(2, s.ack)
  end)

  it("knows no worker of another generation, and counts results without a job as late", function()
    assert.is_true(events.receive(s, 1, records(report(1, 2), { 1, 1, true, "one" })))
    assert.is_true(events.receive(s, 2, records(report(9, 3), { 2, 1, true, "two" })))
    assert.same({ { nil, 1, true, "one", 7 }, arrived = true }, results)
    assert.equal(1, s.late)
  end)

  it("refuses what is no record", function()
    local ok, err = events.receive(s, 1, "\xC1")
    assert.is_nil(ok)
    assert.equal("decode", err.kind)
  end)
end)
