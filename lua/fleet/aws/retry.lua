-- SPDX-License-Identifier: MIT
-- The decision whether a call to AWS is retried, as in the standard mode of the SDKs. Pure.

local set = require("fleet.base.text").set

local retry = {}

--- The number of attempts, unless AWS_MAX_ATTEMPTS or max_attempts sets it.
retry.ATTEMPTS = 3
--- The longest pause in seconds.
retry.MAX_BACKOFF = 20

-- The service limits the rate of calls.
local THROTTLED = set([[RequestLimitExceeded Throttling ThrottlingException ThrottledException
  RequestThrottled RequestThrottledException TooManyRequestsException EC2ThrottledException
  BandwidthLimitExceeded SlowDown PriorRequestNotComplete TransactionInProgressException
  LimitExceededException ProvisionedThroughputExceededException TooManyUpdates]])
-- The service fails for a while.
local TRANSIENT = set([[InternalError InternalFailure InternalServerError Unavailable
  ServiceUnavailable RequestTimeout RequestTimeoutException IDPCommunicationError]])
local TRANSIENT_STATUS = { [500] = true, [502] = true, [503] = true, [504] = true }
-- There was no answer; kinds of host.http's errors.
local LOST = set("connect timeout truncated dns protocol")

-- The service does not accept the credentials any more, or not yet.
local STALE = set([[ExpiredToken ExpiredTokenException RequestExpired AuthFailure
  InvalidClientTokenId UnrecognizedClientException InvalidToken TokenRefreshRequired]])
-- Errors that a wrong clock may cause.
local SKEWED = set([[RequestTimeTooSkewed RequestExpired RequestInTheFuture SignatureDoesNotMatch
  InvalidSignatureException AuthFailure InvalidClientTokenId]])
local DENIED = set("UnauthorizedOperation AccessDenied AccessDeniedException UnauthorizedAccess")

--- Classifies an error: "throttled", "transient" and "lost" are retried; "stale" needs other
--- credentials; "denied" needs a policy; "final" is none of these.
---@param err fleet.Error has `code` and `status` when the service answered
---@return "throttled"|"transient"|"lost"|"stale"|"denied"|"final"
function retry.class(err)
  if LOST[err.kind] then return "lost" end -- perhaps after its status had come
  if not err.status then return "final" end
  local code = err.code or ""
  if THROTTLED[code] or err.status == 429 then return "throttled" end
  if DENIED[code] then return "denied" end
  if STALE[code] then return "stale" end
  if TRANSIENT[code] or TRANSIENT_STATUS[err.status] then return "transient" end
  return "final"
end

--- Whether a wrong clock may be the reason for an error.
---@param code string|nil
---@return boolean
function retry.blames_clock(code)
  return SKEWED[code or ""] ~= nil
end

--- The pause after a failed attempt in seconds: random, up to scale * 2^(attempt - 1) and at most
--- MAX_BACKOFF.
---@param attempt integer 1 for the first
---@param random number from 0 to 1
---@param scale number|nil default: 1
---@return number
function retry.backoff(attempt, random, scale)
  return random * math.min(retry.MAX_BACKOFF, (scale or 1) * 2 ^ math.min(attempt - 1, 30))
end

-- ---- the quota ----

-- All calls share one quota, so that retries stop soon when every call fails.
local CAPACITY, COST, LOST_COST, REFUND = 500, 5, 10, 1

--- @class fleet.aws.Quota
local Quota = {}
Quota.__index = Quota

---@return fleet.aws.Quota
function retry.quota()
  return setmetatable({ left = CAPACITY }, Quota)
end

--- Takes the cost of a retry; nil when not enough is left.
---@param class string of retry.class
---@return integer|nil taken
function Quota:take(class)
  local cost = class == "lost" and LOST_COST or COST
  if cost > self.left then return nil end
  self.left = self.left - cost
  return cost
end

--- Gives back, after a successful call, what its last retry took.
---@param taken integer|nil nil: there was no retry
function Quota:give(taken)
  self.left = math.min(CAPACITY, self.left + (taken or REFUND))
end

return retry
