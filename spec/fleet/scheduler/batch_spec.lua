-- SPDX-License-Identifier: MIT
local batch = require("fleet.scheduler.batch")
local driving = require("spec.support.driving")
local window = require("fleet.scheduler.window")

local with = driving.with

describe("fleet.scheduler.batch", function()
  it("is the state of its items until they come off it", function()
    local s = with(4, { w = "a" })
    local worker = s.workers.w
    local b = batch.send(s, worker, 2, 2, 1)
    assert.same({ window.QUEUED, b, b, window.QUEUED }, s.state)
    assert.equal(2, worker.in_flight)
    assert.is_true(worker.batches[b])
    batch.release(b, 1)
    assert.is_true(worker.batches[b])
    batch.release(b, 1)
    assert.is_nil(worker.batches[b])
    assert.equal(0, worker.in_flight)
  end)

  it("carries the time and what is known of its items", function()
    local s = with(2, { w = "a" })
    assert.is_nil(batch.send(s, s.workers.w, 1, 1, 1).sent)
    s:tick(17)
    local history = { tried = 1 }
    local b = batch.send(s, s.workers.w, 2, 1, 2, history)
    assert.equal(17, b.sent)
    assert.equal(history, b.history)
  end)

  it("is split without anything else changing", function()
    local s = with(4, { w = "a" })
    s:tick(17)
    local b = s:next_batch("w")
    s:starved("w", 0)
    s:tick(18)
    local single = batch.split(s, b, 3)
    assert.same({ b, b, single, b }, s.state)
    assert.same({ 3, 1, 1, 17 }, { single.first, single.count, single.attempt, single.sent })
    assert.equal(3, b.unfinished)
    assert.equal(4, s.workers.w.in_flight)
    assert.is_true(s.workers.w.starved)
    assert.equal(single, batch.split(s, single, 3))
    for id = 1, 4 do assert.is_true(s:result("w", id, 1, true, id)) end
    assert.is_nil(next(s.workers.w.batches))
  end)

  it("is taken back in runs of the items still in flight with it", function()
    local s = with(4, { w = "a" }, { batch = 4 })
    local b = s:next_batch("w")
    s:result("w", 2, 1, true)
    local runs = {}
    local function note(from, to) runs[#runs + 1] = { from, to } end
    assert.equal(3, batch.take_back(s, b, 0, 99, note))
    assert.same({ { 1, 1 }, { 3, 4 } }, runs)
    assert.is_nil(s.workers.w.batches[b])
    assert.equal(0, s.workers.w.in_flight)
  end)

  it("is listed in order of ids, then of attempts", function()
    local s = with(6, { w = "a", x = "b" })
    local third = batch.send(s, s.workers.w, 5, 2, 1)
    local second = batch.send(s, s.workers.x, 1, 1, 2)
    local first = batch.send(s, s.workers.w, 1, 1, 1)
    local list = batch.of(s.workers)
    assert.equal(3, #list)
    for i, b in ipairs({ first, second, third }) do assert.equal(b, list[i]) end
  end)
end)
