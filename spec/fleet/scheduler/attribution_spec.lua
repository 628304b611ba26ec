-- SPDX-License-Identifier: MIT
local blame = require("fleet.scheduler.attribution")

local NODE = { name = "a" }

local function out(attempt, past, node)
  return { attempt = attempt, past = past, worker = { node = node or NODE } }
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
    local past
    for hit = 1, blame.SPARED do
      past = blame.lost(out(hit, past), "innocent", dies("timeout", {}), 2)
      assert.equal(hit + 1, blame.next_attempt(past, 2))
      assert.equal(hit == blame.SPARED, past.alone)
      assert.is_false(past.suspect)
    end
    past = blame.lost(out(4, past), "innocent", dies("timeout", {}), 2)
    assert.equal(5, blame.next_attempt(past, 2))
    past = blame.lost(out(5, past), "innocent", dies("timeout", {}), 2)
    assert.is_nil(blame.next_attempt(past, 2))
    assert.same({ err = { kind = "crash", message = "died; another task was to blame", signal = 9,
      node = "a", attempt = 5, applied = "unknown" }, at = NODE }, past.loss)
  end)

  it("spares nobody without retries", function()
    local past = blame.lost(out(1), "innocent", dies("crash", {}), 1)
    assert.is_nil(blame.next_attempt(past, 1))
  end)

  it("isolates a suspect for its last attempt, the guilty at once", function()
    local past = blame.lost(out(1), "suspect", dies("crash"), 3)
    assert.same({ true, false }, { past.suspect, past.alone })
    past = blame.lost(out(2, past), "lost", dies("lost"), 3)
    assert.same({ true, true }, { past.suspect, past.alone })
    past = blame.lost(out(1), "guilty", dies("crash"), 9)
    assert.same({ true, true }, { past.suspect, past.alone })
    past = blame.lost(out(1), "lost", dies("lost"), 2)
    assert.same({ false, false }, { past.suspect, past.alone })
  end)

  it("poisons what is guilty on two nodes", function()
    local first = blame.lost(out(1), "guilty", dies("crash"), 9)
    local again = blame.lost(out(2, first), "guilty", dies("crash"), 9)
    assert.equal(3, blame.next_attempt(again, 9))
    local past = blame.lost(out(3, again, { name = "b" }), "guilty", dies("crash"), 9)
    assert.is_nil(blame.next_attempt(past, 9))
    assert.same({ kind = "poisoned", node = "b", signal = 9, attempt = 3, applied = "unknown",
      message = "the item killed workers of a (signal 9), a (signal 9), b (signal 9)" },
      past.loss.err)
    assert.equal(1, #first.deaths) -- what is known of an item is never changed
    assert.equal(2, #again.deaths)
  end)

  it("remembers an error, and that it cost a worker", function()
    local err = { kind = "timeout", message = "killed" }
    local past = blame.erred(out(1), err, false, 3)
    assert.same({ tried = 1, spared = 0, unbegun = 0, suspect = false, alone = false,
      loss = { err = err, at = NODE } }, past)
    assert.is_true(blame.erred(out(2, past), err, true, 3).alone)
    -- the task may say what it likes: poison is what the scheduler finds
    past = blame.erred(out(1), { kind = "poisoned", message = "own" }, false, 3)
    assert.equal(2, blame.next_attempt(past, 3))
    local suspect = { tried = 1, spared = 0, suspect = true }
    assert.is_true(blame.erred(out(2, suspect), err, false, 3).alone)
  end)

  it("goes on counting from the highest attempt that has begun", function()
    local past = blame.lost(out(3), "lost", dies("lost"), 9)
    past = blame.lost(out(1, past), "lost", dies("lost"), 9)
    assert.equal(4, blame.next_attempt(past, 9))
  end)
end)
