-- SPDX-License-Identifier: MIT
-- Failure attribution: what the death of a worker says about the items it had. The rules:
--
-- * With `retries` = 0, an item that may have begun never runs again, whichever task was the cause.
-- * When the node names the task that was running (the culprit), only that item is the cause. If
--   the node killed it, for its time, its memory or on request, that is its error. If it crashed,
--   its other attempts run on a worker that does nothing else, so it costs each of its neighbours
--   at most one attempt; after deaths on two different nodes it is poisoned, whatever attempts are
--   left.
-- * Its neighbours are bystanders. They may have begun, so they run again as another attempt, but
--   beside others as before. The first MAX_FREE_ATTEMPTS such attempts are not taken from their
--   retries: among many bad items a good one would run out of attempts before the bad ones are
--   found. After that many it runs alone, where no other item can kill it, and each attempt counts.
-- * When no culprit is named, all items of the worker are suspects: they are sent one by one, and
--   their last attempt is alone, so that in the end only the item that kills workers fails. A
--   suspect whose worker dies while it is alone there is the culprit.
-- * An item that certainly had not begun when its worker died runs elsewhere and loses nothing. The
--   exception: no culprit is named, so that the worker may have died of receiving the items, and
--   that has happened more than MAX_NOT_BEGUN times; then it counts as an attempt of suspects.
--
-- So an item begins at most retries + 1 + MAX_FREE_ATTEMPTS times, and once more if it is late (see
-- fleet.scheduler.speculation).

local attribution = {}

--- Verdicts after which an item avoids the node, if there is another.
attribution.AVOIDS = { lost = true, suspect = true, culprit = true }

--- Attempts of an item that others may ruin without a cost to its retries.
attribution.MAX_FREE_ATTEMPTS = 3

--- How often an item may come back not_begun from workers that died without a known culprit.
attribution.MAX_NOT_BEGUN = 5

-- Causes after which the tasks have certainly not begun.
local NOT_BEGUN = { draining = true, refused = true }
-- Causes for which the node kills the worker of a task; they are the task's error.
local KILLED_FOR = { timeout = true, cancelled = true, memory = true }

--- @class fleet.Cause why a worker was removed
--- @field kind string "lost": its whole node was lost; "draining", "refused": its tasks were not
--- begun; any other: the process died, perhaps of one of them
--- @field message string
--- @field node? string
--- @field signal? integer|string
--- @field culprit? {id: integer, attempt: integer} the task that died with it; an empty table, or
--- one that is not in flight there: none of this map's

--- @class fleet.AttemptHistory of an item; replaced, never changed
--- @field failure {err: fleet.Error, node: table}|nil how the last attempt ended, on which node;
--- nil: none has begun
--- @field tried integer the highest number of the attempts that have begun and ended
--- @field not_begun integer how often it came back not_begun from a worker without a known culprit
--- @field free_attempts integer how many attempts were ruined by others, without a cost
--- @field suspect boolean whether it may have killed a worker
--- @field alone boolean whether it must have a worker for itself
--- @field deaths {node: string, signal: any}[]|nil workers that it did kill
--- @field poisoned boolean|nil whether those were on two nodes

--- @alias fleet.Verdict
--- | "not_begun" it never ran
--- | "lost" it was lost with its node
--- | "bystander" another task killed the worker
--- | "suspect" one of the tasks did, perhaps this one
--- | "culprit" this one did
--- | "killed" the node killed the worker because of this one

local EMPTY = { tried = 0, free_attempts = 0, not_begun = 0, suspect = false, alone = false }

--- Judges a batch whose worker was removed.
---@param cause fleet.Cause
---@param b fleet.Batch
---@param culprit fleet.Batch|nil the one that cause.culprit names
---@param was_alone boolean the worker had nothing but one item
---@return fleet.Verdict
function attribution.verdict(cause, b, culprit, was_alone)
  if NOT_BEGUN[cause.kind] then return "not_begun" end
  if cause.kind == "lost" then return "lost" end
  if b == culprit then return KILLED_FOR[cause.kind] and "killed" or "culprit" end
  if cause.culprit then return "bystander" end
  return was_alone and b.history and b.history.suspect and "culprit" or "suspect"
end

-- Whether all attempts that count are used up but one.
local function is_last(history, last_attempt)
  return history.tried + 1 - history.free_attempts >= last_attempt
end

local function copy_of(history)
  local copy = {}
  for key, value in pairs(history or EMPTY) do copy[key] = value end
  return copy
end

-- The history of a batch's items once that attempt has ended.
local function after_attempt(b)
  local history = copy_of(b.history)
  history.tried = math.max(history.tried, b.attempt)
  return history
end

local function killed_on_two_nodes(deaths)
  for _, death in ipairs(deaths) do
    if death.node ~= deaths[1].node then return true end
  end
  return false
end

local function poisoned(deaths, attempt)
  local places = {}
  for i, death in ipairs(deaths) do
    places[i] = death.signal and ("%s (signal %s)"):format(death.node, death.signal) or death.node
  end
  local last = deaths[#deaths]
  return {
    kind = "poisoned", message = "the item killed workers of " .. table.concat(places, ", "),
    node = last.node, signal = last.signal, attempt = attempt, applied = "unknown",
  }
end

--- Returns the history of a batch's items after an attempt that may have begun was lost.
---@param b fleet.Batch
---@param verdict fleet.Verdict
---@param cause fleet.Cause
---@param last_attempt integer
---@return fleet.AttemptHistory
function attribution.lost(b, verdict, cause, last_attempt)
  local node, history = b.worker.node, after_attempt(b)
  local err = {
    kind = cause.kind, message = cause.message, signal = cause.signal,
    node = cause.node or node.name, attempt = b.attempt, applied = "unknown",
  }
  if verdict == "bystander" then
    err.kind, err.message = "crash", cause.message .. "; another task was the cause"
    local max = last_attempt > 1 and attribution.MAX_FREE_ATTEMPTS or history.free_attempts
    history.free_attempts = math.min(history.free_attempts + 1, max)
    history.alone = history.alone or history.free_attempts == attribution.MAX_FREE_ATTEMPTS
  elseif verdict == "culprit" then
    history.deaths = table.move(history.deaths or {}, 1, #(history.deaths or {}), 1, {})
    history.deaths[#history.deaths + 1] = { node = node.name, signal = cause.signal }
    history.suspect, history.alone = true, true
    history.poisoned = killed_on_two_nodes(history.deaths)
    if history.poisoned then err = poisoned(history.deaths, b.attempt) end
  end
  history.suspect = history.suspect or verdict == "suspect"
  history.alone = history.alone or history.suspect and is_last(history, last_attempt)
  history.failure = { err = err, node = node }
  return history
end

--- Returns the history of a batch's items that had not begun when their worker died, and the
--- verdict on them.
---@param b fleet.Batch
---@param cause fleet.Cause
---@param last_attempt integer
---@return fleet.AttemptHistory|nil
---@return fleet.Verdict
function attribution.not_begun(b, cause, last_attempt)
  if cause.culprit then return b.history, "not_begun" end
  local history = copy_of(b.history)
  history.not_begun = history.not_begun + 1
  if history.not_begun <= attribution.MAX_NOT_BEGUN then return history, "not_begun" end
  local counted = attribution.lost(b, "suspect", cause, last_attempt)
  if not history.failure then counted.failure.err.applied = "no" end
  counted.not_begun = history.not_begun
  return counted, "suspect"
end

--- Returns the history of an item after an attempt that ended in an error.
---@param b fleet.Batch
---@param err fleet.Error
---@param alone boolean its worker was killed for it
---@param last_attempt integer
---@return fleet.AttemptHistory
function attribution.erred(b, err, alone, last_attempt)
  local history = after_attempt(b)
  history.alone = history.alone or alone or history.suspect and is_last(history, last_attempt)
  history.failure = { err = err, node = b.worker.node }
  return history
end

--- Returns the number of the next attempt, or nil when there is to be none.
---@param history fleet.AttemptHistory
---@param last_attempt integer
---@return integer|nil
function attribution.next_attempt(history, last_attempt)
  if history.poisoned then return nil end
  local attempt = history.tried + 1
  return attempt - history.free_attempts <= last_attempt and attempt or nil
end

return attribution
