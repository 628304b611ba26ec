-- SPDX-License-Identifier: MIT
-- One item in the model of the scheduler: its running attempts, the failures
-- attributed to it, and the expected outcome. Written from the rules
-- (fleet.scheduler.attribution), not from the code.

local item_model = {}

local MAX_FREE_ATTEMPTS = 3

local function expect(holds, format, ...)
  if not holds then error(format:format(...), 2) end
end
item_model.expect = expect

--- @class spec.Attempt one that runs: {worker, id, attempt, sent}

local Item = {}
Item.__index = Item

--- Makes the record of an item that was pushed.
function item_model.new(id, item, options)
  return setmetatable({
    id = id, item = item, retries = options.retries, speculate = options.speculate,
    out = {},        -- attempts that are out: none, one, or two duplicates
    next = 1,        -- number of the attempt to come
    tried = 0,       -- highest number of those that began and ended
    begun = 0,       -- how many began
    raced = 0,       -- how many of them were sent beside another
    free_attempts = 0, suspect = false, alone = false, deaths = {}, hurt_by = {},
    avoid = nil,     -- node to keep away from
    loss = nil,      -- {kind, applied, attempt} of the last attempt that ended
    returned = false, due = nil,
    outcome = nil,   -- once it has ended: "ok" or the kind of its error
  }, Item)
end

--- An attempt is sent.
function Item:goes_out(attempt)
  if #self.out == 1 then self.raced = self.raced + 1 end
  self.out[#self.out + 1] = attempt
  self.begun = self.begun + 1
  self.avoid, self.due = nil, nil
  expect(#self.out <= 2, "item %d is out %d times", self.id, #self.out)
  local most = self.retries == 0 and 1 or self.retries + 1 + MAX_FREE_ATTEMPTS
  expect(self.begun <= most + self.raced, "item %d begins %d times", self.id, self.begun)
  expect(attempt.attempt <= most + 1, "item %d: attempt %d", self.id, attempt.attempt)
end

--- An attempt has ended.
function Item:comes_back(attempt)
  local index = self.out[1] == attempt and 1 or 2
  expect(self.out[index] == attempt, "model: item %d is not out there", self.id)
  table.remove(self.out, index)
end

--- It ends: sets what must be popped. `value` is compared when `exact`.
function Item:ends(outcome, fields)
  expect(not self.outcome, "item %d ends twice: %s, %s", self.id, self.outcome, outcome)
  self.outcome = outcome
  self.applied, self.attempt = fields.applied, fields.attempt
  self.value, self.exact = fields.value, fields.exact
  self.bytes = fields.bytes or 0
end

function Item:ends_with_loss()
  self:ends(self.loss.kind, self.loss)
end

local function is_poison(self)
  return next(self.deaths) and next(self.deaths, next(self.deaths)) ~= nil
end

-- Whether an attempt is left after `tried`.
local function may_go_on(self)
  return self.loss.kind ~= "poisoned" and self.tried + 1 - self.free_attempts <= self.retries + 1
end

local function consider_isolation(self)
  local last = self.tried + 1 - self.free_attempts >= self.retries + 1
  if self.suspect and last then self.alone = true end
end

--- An attempt that may have begun is lost. Verdicts: "lost", "bystander",
--- "suspect", "culprit".
function Item:loses(attempt, verdict, kind)
  local node = attempt.worker.node
  self.tried = math.max(self.tried, attempt.attempt)
  self.loss = { kind = kind, applied = "unknown", attempt = attempt.attempt }
  self.avoid = verdict ~= "bystander" and node or nil
  if verdict == "bystander" then
    self.loss.kind = "crash"
    local max = self.retries > 0 and MAX_FREE_ATTEMPTS or self.free_attempts
    self.free_attempts = math.min(self.free_attempts + 1, max)
    if self.free_attempts == MAX_FREE_ATTEMPTS then self.alone = true end
  elseif verdict == "culprit" then
    self.deaths[node] = true
    self.suspect, self.alone = true, true
    if is_poison(self) then self.loss.kind = "poisoned" end
  elseif verdict == "suspect" then
    self.suspect = true
  end
  consider_isolation(self)
end

--- An attempt has not begun after all.
function Item:is_refused()
  self.begun = self.begun - 1
  self.avoid, self.returned = nil, true
end

--- Whether an attempt that ends in an error may be followed by another, if
--- retry_on says so.
function Item:may_retry(attempt, kind)
  if kind == "cancelled" then return false end
  if #self.out == 2 then
    local older = math.min(self.out[1].attempt, self.out[2].attempt)
    return older - self.free_attempts <= self.retries
  end
  return math.max(self.tried, attempt.attempt) - self.free_attempts <= self.retries
end

--- It will be retried after an error.
function Item:errs(attempt, err, alone)
  self.tried = math.max(self.tried, attempt.attempt)
  self.loss = { kind = err.kind, applied = "yes", attempt = attempt.attempt }
  self.alone = self.alone or alone
  self.avoid = nil
  consider_isolation(self)
end

--- It has come back and has no running attempt: returns "ends", "waits", or "goes"
--- if the map has stopped and it never began.
function Item:decide(stopped)
  if self.loss and (stopped or not may_go_on(self)) then
    self:ends_with_loss()
    return "ends"
  elseif stopped then
    return "goes"
  end
  self.next = self.tried + 1
  return "waits"
end

--- Checks that the popped result is the one that it ended with.
function Item:check_popped(item, ok, value)
  expect(item == self.item, "item %d is another", self.id)
  expect(ok == (self.outcome == "ok"), "item %d: %s", self.id, self.outcome)
  if self.exact then
    expect(value == self.value, "item %d: another value", self.id)
    return
  end
  expect(value.kind == self.outcome, "item %d: %s is not %s", self.id, value.kind, self.outcome)
  expect(value.applied == self.applied, "item %d: applied %s, not %s", self.id, value.applied,
    self.applied)
  expect(not self.attempt or value.attempt == self.attempt, "item %d: attempt %s, not %s", self.id,
    value.attempt, self.attempt)
  expect(self.outcome == "poisoned" or not is_poison(self), "item %d: %s", self.id,
    self.outcome)
end

return item_model
