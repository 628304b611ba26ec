-- SPDX-License-Identifier: MIT
-- When a call to AWS is tried again: the standard mode of the SDKs. Pure.

local retry = {}

--- Attempts in all, unless AWS_MAX_ATTEMPTS or max_attempts say otherwise.
retry.ATTEMPTS = 3
--- The longest pause.
retry.MAX_BACKOFF = 20

local function set(words)
  local s = {}
  for word in words:gmatch("%S+") do s[word] = true end
  return s
end

-- The service has had enough of us, or of everybody.
local THROTTLED = set([[RequestLimitExceeded Throttling ThrottlingException ThrottledException
  RequestThrottled RequestThrottledException TooManyRequestsException EC2ThrottledException
  BandwidthLimitExceeded SlowDown PriorRequestNotComplete TransactionInProgressException
  LimitExceededException ProvisionedThroughputExceededException]])
-- It is in trouble that passes.
local TRANSIENT = set([[InternalError InternalFailure Unavailable ServiceUnavailable RequestTimeout
  RequestTimeoutException IDPCommunicationError]])
local TRANSIENT_STATUS = { [500] = true, [502] = true, [503] = true, [504] = true }
-- Nobody answered; kinds of host.http's errors.
local LOST = set("connect timeout truncated dns protocol")

-- The credentials are no longer, or not yet, what the service takes.
local STALE = set([[ExpiredToken ExpiredTokenException RequestExpired AuthFailure
  InvalidClientTokenId UnrecognizedClientException InvalidToken TokenRefreshRequired]])
-- The same, if it is not the clock.
local SKEWED = set([[RequestTimeTooSkewed RequestExpired RequestInTheFuture SignatureDoesNotMatch
  InvalidSignatureException AuthFailure InvalidClientTokenId]])
local DENIED = set("UnauthorizedOperation AccessDenied AccessDeniedException UnauthorizedAccess")

--- What to do about an error: "throttled", "transient" and "lost" are tried again; "stale" needs
--- other credentials; "denied" a policy; "final" is none of these.
---@param err fleet.Error with `code` and `status` when the service answered
---@return "throttled"|"transient"|"lost"|"stale"|"denied"|"final"
function retry.class(err)
  if not err.status then return LOST[err.kind] and "lost" or "final" end
  local code = err.code or ""
  if THROTTLED[code] or err.status == 429 then return "throttled" end
  if DENIED[code] then return "denied" end
  if STALE[code] then return "stale" end
  if TRANSIENT[code] or TRANSIENT_STATUS[err.status] then return "transient" end
  return "final"
end

--- Whether a wrong clock is a reason for such an error.
---@param code string|nil
---@return boolean
function retry.blames_clock(code)
  return SKEWED[code or ""] ~= nil
end

--- Seconds to wait after an attempt failed: anything up to scale * 2^(attempt - 1), 20 at most.
---@param attempt integer 1 for the first
---@param random number from 0 to 1
---@param scale number|nil 1 by default
---@return number
function retry.backoff(attempt, random, scale)
  return random * math.min(retry.MAX_BACKOFF, (scale or 1) * 2 ^ math.min(attempt - 1, 30))
end

-- ---- the quota ----

-- Of all calls together: when everything fails, soon nothing is tried again.
local CAPACITY, COST, LOST_COST, REFUND = 500, 5, 10, 1

--- @class fleet.aws.Quota
local Quota = {}
Quota.__index = Quota

---@return fleet.aws.Quota
function retry.quota()
  return setmetatable({ left = CAPACITY }, Quota)
end

--- Takes what a retry costs; nil when there is not enough.
---@param class string of retry.class
---@return integer|nil taken
function Quota:take(class)
  local cost = class == "lost" and LOST_COST or COST
  if cost > self.left then return nil end
  self.left = self.left - cost
  return cost
end

--- Gives back after a call that went well what its last retry took.
---@param taken integer|nil nil: it needed none
function Quota:give(taken)
  self.left = math.min(CAPACITY, self.left + (taken or REFUND))
end

return retry
