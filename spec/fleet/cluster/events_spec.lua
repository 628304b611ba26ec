-- SPDX-License-Identifier: MIT
-- What a session makes of events; more is in the spec of fleet.cluster.session.

local events = require("fleet.cluster.events")

describe("events.take", function()
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
      jobs = { job, by_number = { job } }, touched = {}, late = 0, sink = events.NO_SINK, bytes = 0,
      wake = function() results.woken = true end,
    }
  end)

  local function arrive(...)
    for _, event in ipairs({ ... }) do events.take(s, table.unpack(event)) end
    events.arrived(s)
  end

  local function report(job, generation)
    return { 0, "report", 1, generation, job, 1, 0, 0, 7 }
  end

  it("gives results to the job of their report, and tells it at the end of a message", function()
    events.take(s, table.unpack(report(1, 3)))
    events.take(s, 1, 1, true, "one")
    assert.is_nil(results.arrived)
    events.arrived(s)
    arrive(report(1, 3), { 2, 1, false, { kind = "raise", message = "no" } })
    assert.same({ { 1, 1, true, "one", 7 }, { 1, 2, false, "raise", 7 }, arrived = true,
      woken = true }, results)
  end)

  it("knows no worker of another generation, and counts results without a job as late", function()
    arrive(report(1, 2), { 1, 1, true, "one" })
    arrive(report(9, 3), { 2, 1, true, "two" })
    assert.same({ { nil, 1, true, "one", 7 }, arrived = true, woken = true }, results)
    assert.equal(1, s.late)
  end)

  it("gives results without a report to nobody", function()
    arrive(report(1, 3))
    arrive({ 1, 1, true, "one" })
    assert.same({ arrived = true, woken = true }, results)
  end)

  it("ignores events that it does not know", function()
    arrive({ 0, "weather", 1, { sunny = true } })
    assert.same({}, results)
  end)
end)
