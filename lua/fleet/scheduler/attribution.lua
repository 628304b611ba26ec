-- SPDX-License-Identifier: MIT
-- What the death of a worker says about the items it had. What holds:
--
-- * `retries` = 0: an item that may have begun is never run again, whoever is to
--   blame.
-- * When the node names the task that was running (the culprit), that item alone
--   is to blame. If the node killed it, for its time, its memory or on request,
--   that is its error. If it crashed, it gets its other attempts on a worker that
--   does nothing else, hence costs each of its neighbours one attempt at most;
--   two deaths on different nodes and it is poisoned, whatever attempts are left.
-- * Its neighbours are bystander: they may have begun, so they run again as another
--   attempt, but beside others as before. The first SPARED such attempts are not
--   taken from their retries: among many bad items a good one would be out of
--   attempts before the bad ones are found. After that many it runs alone, where
--   nobody else's item can kill it, and each attempt counts.
-- * When no culprit is named, all items of the worker are suspects: they are sent
--   one by one, and their last attempt is alone, so that in the end only the item
--   that kills is failed. A suspect that dies alone is to blame.
--
-- * What had certainly not begun when its worker died is no part of all that: it runs elsewhere
--   and loses nothing. Only when the node names nobody who was to blame, so that it may have been
--   the coming of the items that the worker died of, and that has happened UNBEGUN times, it
--   counts as an attempt of suspects.
--
-- So an item is begun at most retries + 1 + SPARED times; one more if a straggler
-- (fleet.scheduler.speculation).

local attribution = {}

--- Verdicts after which an item keeps away from the node, if there is another.
attribution.AVOIDS = { lost = true, suspect = true, culprit = true }

--- Attempts of an item that others may ruin at no cost to its retries.
attribution.SPARED = 3

--- How often an item may come back unbegun from workers that nobody is known to have killed.
attribution.UNBEGUN = 5

-- Causes after which the tasks have certainly not begun.
local NOT_BEGUN = { draining = true, refused = true }
-- The worker was killed for what the task did: the task has got its error.
local KILLED_FOR = { timeout = true, cancelled = true, memory = true }

--- @class fleet.Cause why a worker went away
--- @field kind string "lost": its whole node is gone; "draining", "refused": its
--- tasks were not begun; any other: the process died, perhaps of one of them
--- @field message string
--- @field node? string
--- @field signal? integer|string
--- @field culprit? {id: integer, attempt: integer} the task that died with it; an
--- empty table, or one that is not in flight there: none of this map's

--- @class fleet.AttemptHistory what earlier attempts at an item have left; replaced, never
--- changed
--- @field failure {err: fleet.Error, at: table}|nil how the last one ended, on which node; nil: none
--- has begun
--- @field tried integer the highest number of those that have begun and ended
--- @field unbegun integer how often it came back unbegun from a worker that nobody named killed
--- @field spared integer how many of them were ruined by others, at no cost
--- @field suspect boolean whether it may have killed a worker
--- @field alone boolean whether it must have a worker for itself
--- @field deaths {node: string, signal: any}[]|nil workers that it did kill
--- @field poisoned boolean|nil whether those were on two nodes

--- @alias fleet.Verdict
--- | "unbegun" it never ran
--- | "lost" it went away with its node
--- | "bystander" another task killed the worker
--- | "suspect" one of the tasks did, perhaps this one
--- | "culprit" this one did
--- | "killed" the worker was killed because of this one

local NOTHING = { tried = 0, spared = 0, unbegun = 0, suspect = false, alone = false }

--- Judges a batch whose worker went away.
---@param cause fleet.Cause
---@param b fleet.Batch
---@param culprit fleet.Batch|nil the one that cause.culprit names
---@param was_alone boolean the worker had nothing but one item
---@return fleet.Verdict
function attribution.verdict(cause, b, culprit, was_alone)
  if NOT_BEGUN[cause.kind] then return "unbegun" end
  if cause.kind == "lost" then return "lost" end
  if b == culprit then return KILLED_FOR[cause.kind] and "killed" or "culprit" end
  if cause.culprit then return "bystander" end
  return was_alone and b.history and b.history.suspect and "culprit" or "suspect"
end

-- Whether all attempts that count are used up but one.
local function is_last(history, last_attempt)
  return history.tried + 1 - history.spared >= last_attempt
end

local function copy_of(history)
  local copy = {}
  for key, value in pairs(history or NOTHING) do copy[key] = value end
  return copy
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

--- What is known of the items of a batch after an attempt that may have begun was
--- lost.
---@param b fleet.Batch
---@param verdict fleet.Verdict
---@param cause fleet.Cause
---@param last_attempt integer
---@return fleet.AttemptHistory
function attribution.lost(b, verdict, cause, last_attempt)
  local node, history = b.worker.node, copy_of(b.history)
  history.tried = math.max(history.tried, b.attempt)
  local err = {
    kind = cause.kind, message = cause.message, signal = cause.signal,
    node = cause.node or node.name, attempt = b.attempt, applied = "unknown",
  }
  if verdict == "bystander" then
    err.kind, err.message = "crash", cause.message .. "; another task was to blame"
    if last_attempt > 1 and history.spared < attribution.SPARED then history.spared = history.spared + 1 end
    history.alone = history.alone or history.spared == attribution.SPARED
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

--- What is known of the items of a batch that had not begun when their worker died, and what that
--- death is to them.
---@param b fleet.Batch
---@param cause fleet.Cause
---@param last_attempt integer
---@return fleet.AttemptHistory|nil
---@return fleet.Verdict
function attribution.unbegun(b, cause, last_attempt)
  if cause.culprit then return b.history, "unbegun" end
  local history = copy_of(b.history)
  history.unbegun = history.unbegun + 1
  if history.unbegun <= attribution.UNBEGUN then return history, "unbegun" end
  local counted = attribution.lost(b, "suspect", cause, last_attempt)
  if not history.failure then counted.failure.err.applied = "no" end
  counted.unbegun = history.unbegun
  return counted, "suspect"
end

--- What is known of an item after an attempt that ended in an error.
---@param b fleet.Batch
---@param err fleet.Error
---@param alone boolean it cost the worker its life
---@param last_attempt integer
---@return fleet.AttemptHistory
function attribution.erred(b, err, alone, last_attempt)
  local history = copy_of(b.history)
  history.tried = math.max(history.tried, b.attempt)
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
  return attempt - history.spared <= last_attempt and attempt or nil
end

return attribution
