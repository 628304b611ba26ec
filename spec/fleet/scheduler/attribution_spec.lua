-- SPDX-License-Identifier: MIT
local attribution = require("fleet.scheduler.attribution")

local NODE = { name = "a" }

local function out(attempt, history, node)
  return { attempt = attempt, history = history, worker = { node = node or NODE } }
end

local function dies(kind, culprit)
  return { kind = kind, message = "died", signal = 9, culprit = culprit }
end

describe("fleet.scheduler.attribution", function()
  it("finds the cause of a death", function()
    local b, other = out(1), out(1)
    local named = { id = 1, attempt = 1 }
    for _, case in ipairs({
      { "not_begun", dies("draining") }, { "not_begun", dies("refused", named), b },
      { "lost", dies("lost") }, { "lost", dies("lost", named), b },
      { "culprit", dies("crash", named), b }, { "killed", dies("timeout", named), b },
      { "killed", dies("memory", named), b }, { "killed", dies("cancelled", named), b },
      { "bystander", dies("crash", named), other }, { "bystander", dies("timeout", named), other },
      { "bystander", dies("crash", {}), nil, true },
      { "suspect", dies("crash") }, { "suspect", dies("memory") },
      { "suspect", dies("crash"), nil, true }, -- alone, but never suspected before
    }) do
      assert.equal(case[1], attribution.verdict(case[2], b, case[3], case[4] or false))
    end
    local suspect = out(2, { suspect = true })
    assert.equal("culprit", attribution.verdict(dies("crash"), suspect, nil, true))
    assert.equal("suspect", attribution.verdict(dies("crash"), suspect, nil, false))
    assert.equal("bystander", attribution.verdict(dies("crash", {}), suspect, nil, true))
  end)

  it("counts attempts, and spares the bystander some of them", function()
    local history
    for hit = 1, attribution.MAX_FREE_ATTEMPTS do
      history = attribution.lost(out(hit, history), "bystander", dies("timeout", {}), 2)
      assert.equal(hit + 1, attribution.next_attempt(history, 2))
      assert.equal(hit == attribution.MAX_FREE_ATTEMPTS, history.alone)
      assert.is_false(history.suspect)
    end
    history = attribution.lost(out(4, history), "bystander", dies("timeout", {}), 2)
    assert.equal(5, attribution.next_attempt(history, 2))
    history = attribution.lost(out(5, history), "bystander", dies("timeout", {}), 2)
    assert.is_nil(attribution.next_attempt(history, 2))
    assert.same({ err = { kind = "crash", message = "died; another task was the cause", signal = 9,
      node = "a", attempt = 5, applied = "unknown" }, node = NODE }, history.failure)
  end)

  it("spares nobody without retries", function()
    local history = attribution.lost(out(1), "bystander", dies("crash", {}), 1)
    assert.is_nil(attribution.next_attempt(history, 1))
  end)

  it("isolates a suspect for its last attempt, the culprit at once", function()
    local history = attribution.lost(out(1), "suspect", dies("crash"), 3)
    assert.same({ true, false }, { history.suspect, history.alone })
    history = attribution.lost(out(2, history), "lost", dies("lost"), 3)
    assert.same({ true, true }, { history.suspect, history.alone })
    history = attribution.lost(out(1), "culprit", dies("crash"), 9)
    assert.same({ true, true }, { history.suspect, history.alone })
    history = attribution.lost(out(1), "lost", dies("lost"), 2)
    assert.same({ false, false }, { history.suspect, history.alone })
  end)

  it("poisons a culprit on two nodes", function()
    local first = attribution.lost(out(1), "culprit", dies("crash"), 9)
    local again = attribution.lost(out(2, first), "culprit", dies("crash"), 9)
    assert.equal(3, attribution.next_attempt(again, 9))
    local history = attribution.lost(out(3, again, { name = "b" }), "culprit", dies("crash"), 9)
    assert.is_nil(attribution.next_attempt(history, 9))
    assert.same({ kind = "poisoned", node = "b", signal = 9, attempt = 3, applied = "unknown",
      message = "the item killed workers of a (signal 9), a (signal 9), b (signal 9)" },
      history.failure.err)
    assert.equal(1, #first.deaths) -- what is known of an item is never changed
    assert.equal(2, #again.deaths)
  end)

  it("remembers an error, and that a worker was killed for it", function()
    local err = { kind = "timeout", message = "killed" }
    local history = attribution.erred(out(1), err, false, 3)
    assert.same({ tried = 1, free_attempts = 0, not_begun = 0, suspect = false, alone = false,
      failure = { err = err, node = NODE } }, history)
    assert.is_true(attribution.erred(out(2, history), err, true, 3).alone)
    -- the task may say what it likes: poison is what the scheduler finds
    history = attribution.erred(out(1), { kind = "poisoned", message = "own" }, false, 3)
    assert.equal(2, attribution.next_attempt(history, 3))
    local suspect = { tried = 1, free_attempts = 0, suspect = true }
    assert.is_true(attribution.erred(out(2, suspect), err, false, 3).alone)
  end)

  it("goes on counting from the highest attempt that has begun", function()
    local history = attribution.lost(out(3), "lost", dies("lost"), 9)
    history = attribution.lost(out(1, history), "lost", dies("lost"), 9)
    assert.equal(4, attribution.next_attempt(history, 9))
  end)
end)
