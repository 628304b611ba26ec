-- SPDX-License-Identifier: MIT
local blame = require("fleet.scheduler.attribution")

local NODE = { name = "a" }

local function out(attempt, history, node)
  return { attempt = attempt, history = history, worker = { node = node or NODE } }
end

local function dies(kind, culprit)
  return { kind = kind, message = "died", signal = 9, culprit = culprit }
end

describe("fleet.scheduler.blame", function()
  it("finds who is to blame", function()
    local b, other = out(1), out(1)
    local named = { id = 1, attempt = 1 }
    for _, case in ipairs({
      { "unbegun", dies("draining") }, { "unbegun", dies("refused", named), b },
      { "lost", dies("lost") }, { "lost", dies("lost", named), b },
      { "guilty", dies("crash", named), b }, { "punished", dies("timeout", named), b },
      { "punished", dies("memory", named), b }, { "punished", dies("cancelled", named), b },
      { "innocent", dies("crash", named), other }, { "innocent", dies("timeout", named), other },
      { "innocent", dies("crash", {}), nil, true },
      { "suspect", dies("crash") }, { "suspect", dies("memory") },
      { "suspect", dies("crash"), nil, true }, -- alone, but never suspected before
    }) do
      assert.equal(case[1], blame.verdict(case[2], b, case[3], case[4] or false))
    end
    local suspect = out(2, { suspect = true })
    assert.equal("guilty", blame.verdict(dies("crash"), suspect, nil, true))
    assert.equal("suspect", blame.verdict(dies("crash"), suspect, nil, false))
    assert.equal("innocent", blame.verdict(dies("crash", {}), suspect, nil, true))
  end)

  it("counts attempts, and spares the innocent some of them", function()
    local history
    for hit = 1, blame.SPARED do
      history = blame.lost(out(hit, history), "innocent", dies("timeout", {}), 2)
      assert.equal(hit + 1, blame.next_attempt(history, 2))
      assert.equal(hit == blame.SPARED, history.alone)
      assert.is_false(history.suspect)
    end
    history = blame.lost(out(4, history), "innocent", dies("timeout", {}), 2)
    assert.equal(5, blame.next_attempt(history, 2))
    history = blame.lost(out(5, history), "innocent", dies("timeout", {}), 2)
    assert.is_nil(blame.next_attempt(history, 2))
    assert.same({ err = { kind = "crash", message = "died; another task was to blame", signal = 9,
      node = "a", attempt = 5, applied = "unknown" }, at = NODE }, history.failure)
  end)

  it("spares nobody without retries", function()
    local history = blame.lost(out(1), "innocent", dies("crash", {}), 1)
    assert.is_nil(blame.next_attempt(history, 1))
  end)

  it("isolates a suspect for its last attempt, the guilty at once", function()
    local history = blame.lost(out(1), "suspect", dies("crash"), 3)
    assert.same({ true, false }, { history.suspect, history.alone })
    history = blame.lost(out(2, history), "lost", dies("lost"), 3)
    assert.same({ true, true }, { history.suspect, history.alone })
    history = blame.lost(out(1), "guilty", dies("crash"), 9)
    assert.same({ true, true }, { history.suspect, history.alone })
    history = blame.lost(out(1), "lost", dies("lost"), 2)
    assert.same({ false, false }, { history.suspect, history.alone })
  end)

  it("poisons what is guilty on two nodes", function()
    local first = blame.lost(out(1), "guilty", dies("crash"), 9)
    local again = blame.lost(out(2, first), "guilty", dies("crash"), 9)
    assert.equal(3, blame.next_attempt(again, 9))
    local history = blame.lost(out(3, again, { name = "b" }), "guilty", dies("crash"), 9)
    assert.is_nil(blame.next_attempt(history, 9))
    assert.same({ kind = "poisoned", node = "b", signal = 9, attempt = 3, applied = "unknown",
      message = "the item killed workers of a (signal 9), a (signal 9), b (signal 9)" },
      history.failure.err)
    assert.equal(1, #first.deaths) -- what is known of an item is never changed
    assert.equal(2, #again.deaths)
  end)

  it("remembers an error, and that it cost a worker", function()
    local err = { kind = "timeout", message = "killed" }
    local history = blame.erred(out(1), err, false, 3)
    assert.same({ tried = 1, spared = 0, unbegun = 0, suspect = false, alone = false,
      loss = { err = err, node = NODE } }, history)
    assert.is_true(blame.erred(out(2, history), err, true, 3).alone)
    -- the task may say what it likes: poison is what the scheduler finds
    history = blame.erred(out(1), { kind = "poisoned", message = "own" }, false, 3)
    assert.equal(2, blame.next_attempt(history, 3))
    local suspect = { tried = 1, spared = 0, suspect = true }
    assert.is_true(blame.erred(out(2, suspect), err, false, 3).alone)
  end)

  it("goes on counting from the highest attempt that has begun", function()
    local history = blame.lost(out(3), "lost", dies("lost"), 9)
    history = blame.lost(out(1, history), "lost", dies("lost"), 9)
    assert.equal(4, blame.next_attempt(history, 9))
  end)
end)
